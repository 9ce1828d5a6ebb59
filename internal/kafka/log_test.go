package kafka

import (
	"context"
	"log/slog"
)

// panicLog receives the first panic that was logged.
type panicLog chan string

func (l panicLog) logger() *slog.Logger { return slog.New(l) }

func (l panicLog) Enabled(context.Context, slog.Level) bool { return true }

func (l panicLog) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		msg := r.Message
		r.Attrs(func(a slog.Attr) bool { msg += " " + a.String(); return true })
		select {
		case l <- msg:
		default:
		}
	}
	return nil
}

func (l panicLog) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l panicLog) WithGroup(string) slog.Handler      { return l }
