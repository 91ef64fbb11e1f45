package gateway

// pool hands out contents, and takes them back.
type pool struct {
	free  []*content
	chunk []content // not handed out yet
}

// chunkSize in contents: 256 KiB are allocated at a time.
const chunkSize = 64

func (p *pool) get() *content {
	if n := len(p.free); n > 0 {
		c := p.free[n-1]
		p.free = p.free[:n-1]
		return c
	}
	if len(p.chunk) == 0 {
		p.chunk = make([]content, chunkSize)
	}
	c := &p.chunk[0]
	p.chunk = p.chunk[1:]
	return c
}

func (p *pool) put(c *content) { p.free = append(p.free, c) }
