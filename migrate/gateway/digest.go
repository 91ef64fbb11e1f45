package gateway

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// tag is the keyed hash of one page at one place. A page of zeros has the tag
// zero, so that memory that was never touched counts for nothing.
type tag [16]byte

// contentHash is the keyed hash of a content, wherever it is.
type contentHash [2]uint64

// hasher computes tags: AES-GMAC under a key of this move, with the page's
// place as the nonce. GMAC is a universal hash: two different contents at one
// place collide with a probability of 2^-120 over the choice of the key, and
// hardware computes it at several GB/s. That a nonce is used again for a page's
// next content would matter if tags were shown to an attacker; they are not.
type hasher struct {
	aead  cipher.AEAD
	block cipher.Block
}

// newKey makes the key of a move.
func newKey() ([]byte, error) {
	key := make([]byte, 16)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make the digest's key: %w", err)
	}
	return key, nil
}

func newHasher(key []byte) (*hasher, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make the digest: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("make the digest: %w", err)
	}
	return &hasher{aead, block}, nil
}

// page returns the tag of a page; nil is a page of zeros.
func (h *hasher) page(block int, index uint64, data []byte) (t tag) {
	if data == nil {
		return tag{}
	}
	var nonce [12]byte
	binary.BigEndian.PutUint32(nonce[:], uint32(block))
	binary.BigEndian.PutUint64(nonce[4:], index)
	h.aead.Seal(t[:0], nonce[:], nil, data)
	return t
}

// contentOf is the hash of a page's content alone, from the page's tag: GMAC
// masks a hash of the content with the nonce's block in counter mode (NIST SP
// 800-38D, 7.1), and what was masked is the same for one content at any place. It
// says which contents are equal, but for the 2^-120 above, and needs neither of them.
func (h *hasher) contentOf(block int, index uint64, t tag) contentHash {
	var mask [aes.BlockSize]byte
	binary.BigEndian.PutUint32(mask[:], uint32(block))
	binary.BigEndian.PutUint64(mask[4:], index)
	mask[15] = 1
	h.block.Encrypt(mask[:], mask[:])
	return contentHash{binary.BigEndian.Uint64(t[:]) ^ binary.BigEndian.Uint64(mask[:]), binary.BigEndian.Uint64(t[8:]) ^ binary.BigEndian.Uint64(mask[8:])}
}

// digest is the sum of all tags modulo 2^128: it does not depend on the order,
// and a page's new content replaces the old one in it.
type digest struct{ high, low uint64 }

func (d *digest) replace(was, is tag) {
	high, low := is.words()
	var carry uint64
	d.low, carry = bits.Add64(d.low, low, 0)
	d.high, _ = bits.Add64(d.high, high, carry)
	high, low = was.words()
	d.low, carry = bits.Sub64(d.low, low, 0)
	d.high, _ = bits.Sub64(d.high, high, carry)
}

func (t tag) words() (high, low uint64) {
	return binary.BigEndian.Uint64(t[:]), binary.BigEndian.Uint64(t[8:])
}

func (d digest) bytes() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, d.high), d.low)
}
