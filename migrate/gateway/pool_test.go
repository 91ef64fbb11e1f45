package gateway

import "testing"

func TestAPoolHandsOutEachContentOnce(t *testing.T) {
	var p pool
	seen := map[*content]bool{}
	for range 2*chunkSize + 3 {
		c := p.get()
		if seen[c] || c[0] != 0 || c[len(c)-1] != 0 {
			t.Fatalf("content %d was handed out before, or is not empty", len(seen))
		}
		seen[c] = true
		c[0], c[len(c)-1] = 1, 1
	}
	c := p.get()
	p.put(c)
	if again := p.get(); again != c {
		t.Error("a content that was put back is not handed out again")
	}
}
