package link

import "testing"

func TestAConnectionIsUnansweredOnlyWhenNoAnswerComes(t *testing.T) {
	client, _ := loopback(t)
	c := Conn{raw: client}
	if n := c.Unanswered(); n != 0 {
		t.Errorf("Unanswered() = %d of a new connection; want 0", n)
	}
	_, err := client.Write(make([]byte, 4<<10))
	must(t, err)
	if n := c.Unanswered(); n != 0 {
		t.Errorf("Unanswered() = %d, although the peer's kernel answers; want 0", n)
	}
	c.Cut()
	if n := c.Unanswered(); n == 0 {
		t.Error("Unanswered() = 0 of a closed connection; want more")
	}
}
