package raftlog

import (
	"context"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// logger passes raft's lines on to slog.
type logger struct {
	to   *slog.Logger
	name string
	args []any
}

func newLogger(to *slog.Logger) hclog.Logger { return logger{to: to, name: "raft"} }

func level(l hclog.Level) slog.Level {
	switch l {
	case hclog.Trace:
		return slog.LevelDebug - 4
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Error:
		return slog.LevelError
	case hclog.Info:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

func (l logger) Log(lv hclog.Level, msg string, args ...any) {
	l.to.Log(context.Background(), level(lv), l.name+": "+msg, args...)
}
func (l logger) on(lv hclog.Level) bool { return l.to.Enabled(context.Background(), level(lv)) }

func (l logger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l logger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l logger) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l logger) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l logger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }
func (l logger) IsTrace() bool                 { return l.on(hclog.Trace) }
func (l logger) IsDebug() bool                 { return l.on(hclog.Debug) }
func (l logger) IsInfo() bool                  { return l.on(hclog.Info) }
func (l logger) IsWarn() bool                  { return l.on(hclog.Warn) }
func (l logger) IsError() bool                 { return l.on(hclog.Error) }
func (l logger) ImpliedArgs() []any            { return l.args }
func (l logger) Name() string                  { return l.name }
func (l logger) SetLevel(hclog.Level)          {} // slog's handler decides
func (l logger) GetLevel() hclog.Level         { return hclog.Debug }

func (l logger) With(args ...any) hclog.Logger {
	return logger{to: l.to.With(args...), name: l.name, args: append(append([]any(nil), l.args...), args...)}
}
func (l logger) Named(name string) hclog.Logger      { l.name += "." + name; return l }
func (l logger) ResetNamed(name string) hclog.Logger { l.name = name; return l }

func (l logger) StandardLogger(o *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(l.StandardWriter(o), "", 0)
}
func (l logger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return writer{l} }

type writer struct{ l logger }

func (w writer) Write(b []byte) (int, error) {
	w.l.Info(string(b))
	return len(b), nil
}
