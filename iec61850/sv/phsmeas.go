package sv

import (
	"encoding/binary"
	"fmt"
)

// Measurement is one channel of 9-2LE's PhsMeas1: a value in 1 mA or 10 mV,
// and its quality (IEC 61850-7-3, 6.2.1; 0 is good).
type Measurement struct {
	Value   int32
	Quality uint32
}

// Channels of PhsMeas1: Ia Ib Ic In Ua Ub Uc Un ("9-2LE", 2004, table 3).
const Channels = 8

// EncodePhsMeas lays the channels out as seqData.
func EncodePhsMeas(m [Channels]Measurement) []byte {
	b := make([]byte, 0, 8*Channels)
	for _, c := range m {
		b = binary.BigEndian.AppendUint32(b, uint32(c.Value))
		b = binary.BigEndian.AppendUint32(b, c.Quality)
	}
	return b
}

// DecodePhsMeas reads seqData as PhsMeas1.
func DecodePhsMeas(b []byte) (m [Channels]Measurement, err error) {
	if len(b) != 8*Channels {
		return m, fmt.Errorf("decode PhsMeas1: seqData has %d bytes, want %d", len(b), 8*Channels)
	}
	for i := range m {
		m[i] = Measurement{Value: int32(binary.BigEndian.Uint32(b[8*i:])), Quality: binary.BigEndian.Uint32(b[8*i+4:])}
	}
	return m, nil
}
