package fleet

import "testing"

// The short form; `make placement-kills` runs 10 000 creates each, with etcd too.
func TestWhatWasAcknowledgedOutlivesAKilledGateway(t *testing.T) {
	f := launch(t, Config{Enclaves: 3, Gateways: 1})
	r, err := f.Disturb(limited(t), Kills{Victim: TheGateway, Kills: 6, Creates: 400, Callers: 12}, "k")
	if err != nil {
		t.Errorf("%+v: %v", r, err)
	}
	t.Logf("%+v", r)
	if r.Repeated == 0 {
		t.Error("nothing was lost by any kill, so nothing was tested")
	}
}

// A run that could not fail would show nothing.
func TestRunNoticesADirectoryThatForgets(t *testing.T) {
	f := launch(t, Config{Enclaves: 2, Gateways: 1, GatewayArgs: []string{"-directory", "memory"}})
	r, err := f.Disturb(limited(t), Kills{Victim: TheGateway, Kills: 1, Creates: 200, Callers: 4}, "k")
	if err == nil {
		t.Errorf("%+v, and nothing was noticed", r)
	}
}
