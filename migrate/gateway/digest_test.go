package gateway

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"bumpless/migrate/stream"
)

// The digest depends on the newest content of every page, not on the order in
// which contents came, nor on what was there before.
func TestTheDigestDependsOnTheNewestContentsOnly(t *testing.T) {
	key, err := newKey()
	must(t, err)
	h, err := newHasher(key)
	must(t, err)
	contents := [][]byte{nil}
	for fill := byte(1); fill < 4; fill++ {
		contents = append(contents, bytes.Repeat([]byte{fill}, stream.PageSize))
	}
	const pages = 40
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		var last [pages]int
		history := make([]struct{ page, content int }, 300)
		for i := range history {
			history[i].page, history[i].content = random.IntN(pages), random.IntN(len(contents))
			last[history[i].page] = history[i].content
		}
		var long, short digest
		var tags [pages]tag
		for _, e := range history {
			is := h.page(0, uint64(e.page), contents[e.content])
			long.replace(tags[e.page], is)
			tags[e.page] = is
		}
		for _, page := range random.Perm(pages) {
			short.replace(tag{}, h.page(0, uint64(page), contents[last[page]]))
		}
		if long != short {
			t.Fatalf("seed %d: %x after a long history, %x by the newest contents", seed, long.bytes(), short.bytes())
		}
		changed := random.IntN(pages)
		other := short
		other.replace(tags[changed], h.page(0, uint64(changed), contents[(last[changed]+1)%len(contents)]))
		if other == short {
			t.Fatalf("seed %d: another content of page %d gives the same digest", seed, changed)
		}
	}
}

func TestATagTellsContentPlaceAndKey(t *testing.T) {
	one, err := newHasher(make([]byte, 16))
	must(t, err)
	two, err := newHasher(append(make([]byte, 15), 1))
	must(t, err)
	data := make([]byte, stream.PageSize)
	data[4095] = 1
	other := bytes.Clone(data)
	other[0] = 1
	tags := map[tag]string{}
	for name, is := range map[string]tag{
		"a page": one.page(0, 1, data), "another content": one.page(0, 1, other), "another index": one.page(0, 2, data),
		"another block": one.page(1, 1, data), "another key": two.page(0, 1, data), "zeros": one.page(0, 1, nil),
	} {
		if same, known := tags[is]; known {
			t.Errorf("%s and %s have the same tag", name, same)
		}
		tags[is] = name
	}
	if again := one.page(0, 1, bytes.Clone(data)); tags[again] != "a page" {
		t.Error("the same page has two tags")
	}
	if one.page(3, 9, nil) != (tag{}) {
		t.Error("a page of zeros has a tag; want zero, as memory that was never touched")
	}
	if _, err := newHasher(make([]byte, 5)); err == nil {
		t.Error("newHasher() of 5 bytes = nil; want an error")
	}
}
