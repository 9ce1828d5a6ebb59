// Package meter counts every request to the store, because requests are money:
// by kind, caller and outcome, with bytes and time, exactly.
package meter
