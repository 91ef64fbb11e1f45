package console

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"bumpless/appliance/api"
)

// Result of an order that was followed to its end.
type Result struct {
	// Outcome: of a move, its own; of a drain, "maintenance" when the host is
	// empty, otherwise why it is not.
	Outcome string  `json:"outcome"`
	Reason  string  `json:"reason,omitempty"`
	Moves   []Moved `json:"moves"`
}

// Moved is one move that ended. The figures are the source gateway's own; they
// are null when it did not tell them.
type Moved struct {
	Move    string `json:"move"`
	Guest   string `json:"guest"`
	From    string `json:"from"`
	To      string `json:"to"`
	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitempty"`

	BudgetMs int      `json:"budget_ms"`
	Figures  *Figures `json:"figures"`

	compared bool // the digests: VERIFY was reached
}

// Figures of a move, as the source's gateway measured them.
type Figures struct {
	Policy      string  `json:"policy"`
	StopMs      float64 `json:"stop_ms"`
	EstimateMs  float64 `json:"estimate_ms"`
	TotalS      float64 `json:"total_s"`
	LinkBytes   int64   `json:"link_bytes"`
	RAMBytes    uint64  `json:"ram_bytes"`
	DigestEqual bool    `json:"digest_equal"`
	Passes      uint32  `json:"passes"`
}

// phases in a person's words.
var phases = map[string]string{
	"preparing": "destination makes room", "in-doubt": "COMMIT was sent and not answered: the log decides",
	"connect": "connecting the gateways", "mirror": "mirroring the local disks, the guest runs", "stream": "sending memory, the guest runs", "about-to-stop": "asking whether the guest may be stopped",
	"stop": "guest stopped", "drain": "sending what is left", "load": "destination loads the guest", "ready": "destination is ready, digests compared",
	"commit": "committed: the source has given the guest up", "running": "guest runs at the destination", "rollback": "rolling back", "resumed": "rolled back: guest runs on at the source",
}

// follower shows the progress of an order.
type follower struct {
	screen  *Screen
	json    bool
	command string
	budgets map[string]int // of guests, in ms
	began   time.Time
	phase   map[string]string // of moves
	result  Result
}

// follow shows the order's progress until its end. The order goes on when the
// follower is interrupted.
func (v *verbs) follow(ctx context.Context, b api.Backend, command string, r api.ProgressRequest) error {
	f := &follower{screen: v.screen, json: v.json, command: command, budgets: map[string]int{}, began: v.screen.Now(),
		phase: map[string]string{}, result: Result{Moves: []Moved{}}}
	if s, err := v.status(ctx, b); err == nil {
		for _, g := range s.Guests {
			f.budgets[g.Name] = g.BudgetMs
		}
	}
	var told error
	err := b.Progress(ctx, r, func(p api.Progress) { told = errors.Join(told, f.tell(p)) })
	f.screen.settle()
	if ctx.Err() != nil {
		return errors.New(v.stands(r))
	}
	if err = errors.Join(err, told); err != nil {
		return fmt.Errorf("the order stands, but cannot be followed (see `%sevents`): %w", v.prefix, err)
	}
	return f.end()
}

// stands: whoever stops watching has not stopped the order.
func (v *verbs) stands(r api.ProgressRequest) string {
	text := fmt.Sprintf("no longer followed; the order stands, see `%sevents`", v.prefix)
	if r.Host != "" {
		text += fmt.Sprintf("; `%sresume %s` takes it back", v.prefix, r.Host)
	}
	return text
}

func (f *follower) tell(p api.Progress) error {
	if p.Move != "" && p.Outcome != "" {
		f.result.Moves = append(f.result.Moves, moved(p, f.budgets[p.Guest]))
	}
	if p.Final {
		f.result.Outcome, f.result.Reason = cmp.Or(p.Outcome, p.Phase), p.Reason
	}
	if f.json {
		return f.screen.Emit(f.command, "progress", p)
	}
	f.show(p)
	return nil
}

func moved(p api.Progress, budget int) Moved {
	m := Moved{Move: p.Move, Guest: p.Guest, From: p.From, To: p.To, Outcome: p.Outcome, Reason: p.Reason, BudgetMs: budget}
	var told struct {
		Figures
		BudgetMs int `json:"budget_ms"`
		Parts    struct {
			ReadyMs float64 `json:"ready_ms"`
		} `json:"parts"`
	}
	if p.Result != nil && json.Unmarshal(p.Result, &told) == nil {
		m.Figures, m.compared = &told.Figures, told.DigestEqual || told.Parts.ReadyMs > 0
		if told.BudgetMs > 0 {
			m.BudgetMs = told.BudgetMs // the one that the move was held to
		}
	}
	return m
}

func (f *follower) show(p api.Progress) {
	at := fmt.Sprintf("%7.1f s  ", f.screen.Now().Sub(f.began).Seconds())
	switch {
	case p.Move == "":
		f.screen.Printf("%s%s\n", at, cmp.Or(p.Reason, p.Phase))
	case p.Outcome != "":
		f.screen.Printf("%s%s\n", at, sentence(f.result.Moves[len(f.result.Moves)-1]))
	case p.Pass != nil:
		f.screen.Live(p.Move+p.Phase, at+passLine(p, f.budgets[p.Guest]))
	case f.phase[p.Move] != p.Phase:
		f.screen.Printf("%s%s: %s\n", at, p.Guest, f.words(p))
		f.phase[p.Move] = p.Phase
	}
}

// words for a phase. The log and the gateway both have a "ready": the log's
// comes before the gateways connect.
func (f *follower) words(p api.Progress) string {
	if before := f.phase[p.Move]; p.Phase == "ready" && (before == "" || before == "preparing") {
		return "destination has made room"
	}
	return cmp.Or(phases[p.Phase], p.Phase)
}

func passLine(p api.Progress, budget int) string {
	return fmt.Sprintf("%s: pass %d  %d pages  held %s  queued %s  link %s at %s/s  estimate %.0f ms%s", p.Guest, p.Pass.Number, p.Pass.Pages,
		size(p.Pass.HeldBytes), size(p.Pass.QueuedBytes), size(p.Pass.LinkBytes), size(int64(p.Pass.LinkBytesPerS)), p.Pass.EstimateMs, of(budget))
}

// of is the budget that a pause is compared with, if it is known.
func of(budgetMs int) string {
	if budgetMs == 0 {
		return ""
	}
	return fmt.Sprintf(" of %d ms", budgetMs)
}

func size(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }

// sentence about a move that ended.
func sentence(m Moved) string {
	text := fmt.Sprintf("guest %s %s from %s to %s", m.Guest, m.Outcome, m.From, m.To)
	if m.Outcome != "moved" {
		text = fmt.Sprintf("guest %s: move from %s to %s %s", m.Guest, m.From, m.To, m.Outcome)
	}
	if m.Reason != "" {
		text += ": " + m.Reason
	}
	if m.Figures == nil {
		return text
	}
	return text + "\n           " + strings.Join(m.figures(), ", ")
}

// figures of a move, in words: only those of what was reached.
func (m Moved) figures() []string {
	stopped := "never stopped"
	if m.Figures.StopMs > 0 {
		stopped = fmt.Sprintf("stopped %.1f ms%s", m.Figures.StopMs, of(m.BudgetMs))
	}
	list := []string{stopped}
	if m.Figures.EstimateMs > 0 {
		list = append(list, fmt.Sprintf("estimate %.1f ms", m.Figures.EstimateMs))
	}
	list = append(list, size(m.Figures.LinkBytes)+" over the link", fmt.Sprintf("%.1f s in all", m.Figures.TotalS))
	if m.compared {
		list = append(list, "digests "+m.digests())
	}
	return list
}

func (m Moved) digests() string {
	switch {
	case !m.compared:
		return "-"
	case m.Figures.DigestEqual:
		return "equal"
	}
	return "differ"
}

// end shows the outcome; the error holds the exit status.
func (f *follower) end() error {
	if f.json {
		if err := f.screen.Emit(f.command, "result", f.result); err != nil {
			return err
		}
	} else if f.command == "drain" && len(f.result.Moves) > 0 {
		f.screen.Print("\n")
		printMoves(f.screen, f.result.Moves)
	}
	switch f.result.Outcome {
	case "moved", "maintenance":
		return nil
	case "refused":
		return &ended{Refused}
	}
	return &ended{Failed}
}

func printMoves(w *Screen, moves []Moved) {
	rows := [][]string{strings.Split("GUEST FROM TO OUTCOME STOP BUDGET ESTIMATE LINK TOTAL DIGESTS", " ")}
	for _, m := range moves {
		row := []string{m.Guest, m.From, m.To, m.Outcome, "-", fmt.Sprintf("%d ms", m.BudgetMs), "-", "-", "-", "-"}
		if g := m.Figures; g != nil {
			row[7], row[8], row[9] = size(g.LinkBytes), fmt.Sprintf("%.1f s", g.TotalS), m.digests()
			if row[4] = "never"; g.StopMs > 0 {
				row[4] = fmt.Sprintf("%.1f ms", g.StopMs)
			}
			if g.EstimateMs > 0 {
				row[6] = fmt.Sprintf("%.1f ms", g.EstimateMs)
			}
		}
		rows = append(rows, row)
	}
	table(w, rows)
}
