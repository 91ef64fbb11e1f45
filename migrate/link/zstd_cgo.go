//go:build cgo

package link

import "github.com/DataDog/zstd"

// packer is libzstd. It only ever reads our own memory: what a peer sends is
// decompressed in Go.
type packer struct{ ctx zstd.Ctx }

func newPacker() (packer, error) { return packer{zstd.NewCtx()}, nil }

var levels = [...]int{Thorough: 3, Usual: 1, Quick: -1, Hasty: -5}

// pack appends the compression of body to out, which is empty. A frame says how
// long its content is: the peer insists on it.
func (p packer) pack(out, body []byte, e Effort) ([]byte, error) {
	if n := zstd.CompressBound(len(body)); cap(out) < n {
		out = make([]byte, 0, n)
	}
	return p.ctx.CompressLevel(out, body, levels[e])
}
