package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// scalePlan is how the curve over the number of enclaves is taken.
type scalePlan struct {
	enclaves []int
	conns    int
	interval time.Duration // Health.Interval, where the machine can carry it
	// mostProbes is how many idle probes a second all connections may make
	// together. Where there would be more, Health.Interval is raised: both ends
	// are on one machine, and a machine that has no time left measures nothing.
	mostProbes float64
	idle       time.Duration // at least so long, and one Interval, is an idle pool looked at
	acquires   int
	limit      time.Duration // of all of it
}

// fullScale takes about a minute and a half on two cores.
func fullScale() scalePlan {
	return scalePlan{
		enclaves: []int{1, 10, 100, 1000}, conns: 16,
		interval: time.Second, mostProbes: 1600, idle: 5 * time.Second,
		acquires: 500_000, limit: 170 * time.Second,
	}
}

// scalePoint is one size.
type scalePoint struct {
	Enclaves, Conns int
	Interval        time.Duration
	held

	ReadyServerCPU time.Duration
	IdleServerCPU  float64 // seconds per second
	Probes         float64 // a second, as the enclaves have counted them
	Error          string  // why there is nothing more
}

// measure takes the curve, the small sizes first. What a size fails with is in
// its point, and there is none after it.
func (p scalePlan) measure(ctx context.Context, progress io.Writer) []scalePoint {
	ctx, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	var points []scalePoint
	for _, n := range p.enclaves {
		fmt.Fprintf(progress, "measuring: %d enclaves of %d connections\n", n, p.conns)
		point := scalePoint{Enclaves: n, Conns: n * p.conns, Interval: p.interval}
		if perInterval := float64(point.Conns) / p.mostProbes; perInterval > p.interval.Seconds() {
			point.Interval = time.Duration(perInterval * float64(time.Second)).Round(time.Second)
		}
		err := needFiles(point.Conns + n + 100)
		if err == nil {
			err = p.point(ctx, &point)
		}
		if err != nil {
			point.Error = err.Error()
		}
		points = append(points, point)
		if err != nil {
			break
		}
	}
	return points
}

// point measures one size, enclaves in one process and the pool in another.
func (p scalePlan) point(ctx context.Context, point *scalePoint) (err error) {
	deadline, _ := ctx.Deadline() // measure has set one
	enclaves, err := startRole(ctx, "enclaves", point.Enclaves)
	if err != nil {
		return err
	}
	defer enclaves.stop()
	told, err := json.Marshal(holding{
		Path: strings.TrimPrefix(enclaves.target, "unix:"), Enclaves: point.Enclaves, Conns: p.conns, Interval: point.Interval,
		Idle: max(p.idle, point.Interval), Acquires: p.acquires, Limit: time.Until(deadline) - 2*time.Second,
	})
	if err != nil {
		return err
	}
	cmd, err := asRole(ctx, "gateway", string(told))
	if err != nil {
		return err
	}
	in, inErr := cmd.StdinPipe() // open for as long as this process lives
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, cmd.Start()); err != nil {
		return err
	}
	defer func() {
		in.Close()
		if werr := cmd.Wait(); err != nil && werr != nil {
			err = errors.Join(err, werr, context.Cause(ctx))
		}
	}()
	at := map[string]usage{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, "{") {
			point.add(at)
			return json.Unmarshal([]byte(line), &point.held)
		} else if at[line], err = enclaves.usage(); err != nil {
			return err
		}
	}
	return errors.New("the process with the pool has ended early")
}

// usage is what the enclaves have used and answered until some moment.
type usage struct {
	at     time.Time
	cpu    time.Duration
	checks float64
}

func (s *server) usage() (u usage, err error) {
	u.at = time.Now()
	line, err := s.ask()
	if err != nil {
		return u, err
	}
	var ns int64
	_, err = fmt.Sscan(line, &ns, &u.checks)
	u.cpu = time.Duration(ns)
	return u, err
}

// add works out what the enclaves have done in each phase.
func (p *scalePoint) add(at map[string]usage) {
	p.ReadyServerCPU = at[phaseReady].cpu - at[phaseBegin].cpu
	idle := at[phaseOver].at.Sub(at[phaseIdle].at).Seconds()
	p.IdleServerCPU = (at[phaseOver].cpu - at[phaseIdle].cpu).Seconds() / idle
	p.Probes = (at[phaseOver].checks - at[phaseIdle].checks) / idle
}
