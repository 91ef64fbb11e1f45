package ber

import "math"

// Append adds an element with the minimal definite length.
func Append(dst []byte, tag byte, value []byte) []byte {
	dst = append(dst, tag)
	dst = appendLength(dst, len(value))
	return append(dst, value...)
}

func appendLength(dst []byte, n int) []byte {
	switch {
	case n < 0x80:
		return append(dst, byte(n))
	case n < 0x100:
		return append(dst, 0x81, byte(n))
	case n < 0x10000:
		return append(dst, 0x82, byte(n>>8), byte(n))
	case n < 0x1000000:
		return append(dst, 0x83, byte(n>>16), byte(n>>8), byte(n))
	default:
		return append(dst, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
}

// AppendUnsigned adds a non-negative INTEGER in the fewest bytes.
func AppendUnsigned(dst []byte, tag byte, n uint64) []byte {
	var buf [9]byte
	i := len(buf)
	for {
		i--
		buf[i] = byte(n)
		n >>= 8
		if n == 0 {
			break
		}
	}
	if buf[i]&0x80 != 0 { // would read as negative
		i--
		buf[i] = 0
	}
	return Append(dst, tag, buf[i:])
}

// AppendSigned adds an INTEGER in the fewest bytes.
func AppendSigned(dst []byte, tag byte, n int64) []byte {
	var buf [8]byte
	for i := range buf {
		buf[i] = byte(n >> (56 - 8*i))
	}
	i := 0
	for i < 7 && ((buf[i] == 0 && buf[i+1]&0x80 == 0) || (buf[i] == 0xff && buf[i+1]&0x80 != 0)) {
		i++
	}
	return Append(dst, tag, buf[i:])
}

// AppendBool adds a BOOLEAN; TRUE is 0xff, as in DER.
func AppendBool(dst []byte, tag byte, b bool) []byte {
	if b {
		return Append(dst, tag, []byte{0xff})
	}
	return Append(dst, tag, []byte{0})
}

// AppendFloat32 adds an MMS FloatingPoint of single precision.
func AppendFloat32(dst []byte, tag byte, f float32) []byte {
	n := math.Float32bits(f)
	return Append(dst, tag, []byte{8, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// AppendFloat64 adds an MMS FloatingPoint of double precision.
func AppendFloat64(dst []byte, tag byte, f float64) []byte {
	n := math.Float64bits(f)
	return Append(dst, tag, []byte{11, byte(n >> 56), byte(n >> 48), byte(n >> 40), byte(n >> 32),
		byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}
