package link

import "testing"

func TestAConnectionIsStalledOnlyWhenNothingIsAnswered(t *testing.T) {
	client, _ := loopback(t)
	c := Conn{raw: client}
	if c.Stalled() {
		t.Error("Stalled() = true of a new connection; want false")
	}
	_, err := client.Write(make([]byte, 4<<10))
	must(t, err)
	if c.Stalled() {
		t.Error("Stalled() = true, although the peer's kernel answers; want false")
	}
	c.Cut()
	if !c.Stalled() {
		t.Error("Stalled() = false of a closed connection; want true")
	}
}
