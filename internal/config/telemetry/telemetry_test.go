package telemetryconfig

import (
	"errors"
	"testing"

	"github.com/karst-io/karst"
)

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        karst.Code // 0 for a good one
	}{
		{"interval.ms", "100", 0},
		{"interval.ms", "3600000", 0},
		{"interval.ms", "99", karst.InvalidRequest},
		{"interval.ms", "3600001", karst.InvalidRequest},
		{"interval.ms", "soon", karst.InvalidConfig},
		{"metrics", "*", 0},
		{"metrics", "", 0},
		{"match", "client_id=app.*, client_software_name = karst", 0},
		{"match", "client_id=[", karst.InvalidConfig},
		{"match", "client_id", karst.InvalidConfig},
		{"match", "name=x", karst.InvalidConfig},
		{"no.such", "1", karst.InvalidRequest},
	} {
		err := Validate(map[string]string{c.name: c.value})
		if (c.want == 0) != (err == nil) || err != nil && !errors.Is(err, c.want.Err()) {
			t.Errorf("%s=%s: %v", c.name, c.value, err)
		}
	}
}
