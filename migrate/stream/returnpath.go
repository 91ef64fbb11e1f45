package stream

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Messages on the return path, from destination to source
// (migration/migration.h, enum mig_rp_message_type).
const (
	ReturnShut          = 1 // u32: 0 when the destination runs well
	ReturnPong          = 2 // u32
	ReturnSwitchoverAck = 7
)

// maxReturn bounds a message; the longest one has 255 bytes and a header.
const maxReturn = 512

// ReturnMessage is one message on the return path.
type ReturnMessage struct {
	Type uint16
	Data []byte
}

// ReadReturn reads the next message.
func ReadReturn(r io.Reader) (ReturnMessage, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return ReturnMessage{}, fmt.Errorf("QEMU return path: header: %w", err)
	}
	n := binary.BigEndian.Uint16(head[2:])
	if n > maxReturn {
		return ReturnMessage{}, fmt.Errorf("QEMU return path: a message of %d bytes, at most %d are allowed", n, maxReturn)
	}
	m := ReturnMessage{Type: binary.BigEndian.Uint16(head[:]), Data: make([]byte, n)}
	if _, err := io.ReadFull(r, m.Data); err != nil {
		return ReturnMessage{}, fmt.Errorf("QEMU return path: data of message %d: %w", m.Type, err)
	}
	return m, nil
}

// WriteReturn writes a message.
func WriteReturn(w io.Writer, m ReturnMessage) error {
	if len(m.Data) > maxReturn {
		return fmt.Errorf("QEMU return path: message %d of %d bytes, at most %d are allowed", m.Type, len(m.Data), maxReturn)
	}
	b := binary.BigEndian.AppendUint16(nil, m.Type)
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.Data)))
	_, err := w.Write(append(b, m.Data...))
	return err
}
