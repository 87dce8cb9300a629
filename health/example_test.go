package health_test

import (
	"fmt"
	"time"

	"github.com/enclavepool/enclavepool/health"
)

// A connection with calls in flight from which nothing comes any more. The
// owner would wait for each wake and send each probe; here neither takes place.
func ExampleMonitor() {
	p := health.DefaultPolicy()
	start := time.Now()
	m := health.NewMonitor(p, start)
	for now := start; ; {
		signs := health.Signs{SinceRead: now.Sub(start), InFlight: 4}
		probe, wake := m.Step(now, signs)
		if !probe {
			now = wake
			continue
		}
		fmt.Println("probe after", now.Sub(start))
		now = now.Add(p.Timeout)
		signs.SinceRead = now.Sub(start)
		if v := m.Finish(now, health.TimedOut, signs); v != health.Keep {
			fmt.Println(v, "after", now.Sub(start))
			return
		}
	}
	// Output:
	// probe after 75ms
	// probe after 125ms
	// probe after 175ms
	// eject after 225ms
}
