package etcdtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Cluster is a number of etcd servers. It is not safe for concurrent use.
type Cluster struct {
	binary, folder string
	members        []*member
}

type member struct {
	name, client, peer string
	process            *exec.Cmd // nil: it does not run
	ended              chan struct{}
}

// Start starts n members that keep their data below folder, and waits until they
// answer. On error nothing is left running.
func Start(ctx context.Context, folder string, n int) (*Cluster, error) {
	path, err := Binary()
	if err != nil {
		return nil, err
	}
	addresses, err := freeAddresses(2 * n)
	if err != nil {
		return nil, err
	}
	c := &Cluster{binary: path, folder: folder}
	for i := range n {
		c.members = append(c.members, &member{
			name: fmt.Sprint("m", i), client: "http://" + addresses[2*i], peer: "http://" + addresses[2*i+1],
		})
	}
	for i := range n {
		if err := c.Restart(i); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	if err := c.Ready(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// freeAddresses returns addresses of this machine that nobody listened on just now.
func freeAddresses(n int) (addresses []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

// Endpoints returns where clients find the members, running or not.
func (c *Cluster) Endpoints() (urls []string) {
	for _, m := range c.members {
		urls = append(urls, m.client)
	}
	return urls
}

// Restart starts a member that was killed, or has not been started yet.
func (c *Cluster) Restart(i int) error {
	m := c.members[i]
	if m.process != nil {
		return fmt.Errorf("etcdtest: member %d runs", i)
	}
	var all []string
	for _, m := range c.members {
		all = append(all, m.name+"="+m.peer)
	}
	log, err := os.OpenFile(filepath.Join(c.folder, m.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	cmd := exec.Command(c.binary, "--name", m.name, "--data-dir", filepath.Join(c.folder, m.name),
		"--listen-client-urls", m.client, "--advertise-client-urls", m.client,
		"--listen-peer-urls", m.peer, "--initial-advertise-peer-urls", m.peer,
		"--initial-cluster", strings.Join(all, ","), "--initial-cluster-token", "enclavepool",
		"--heartbeat-interval", "50", "--election-timeout", "500", "--log-level", "warn")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = diesWithUs()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("etcdtest: %w", err)
	}
	m.process, m.ended = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait() // whoever ended it knows
		close(m.ended)
	}()
	return nil
}

// Kill ends a member at once, as kill -9 does.
func (c *Cluster) Kill(i int) error {
	m := c.members[i]
	if m.process == nil {
		return nil
	}
	err := m.process.Process.Kill()
	<-m.ended
	m.process = nil
	if errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("etcdtest: member %d had ended by itself; see %s", i, filepath.Join(c.folder, m.name+".log"))
	}
	return err
}

// Signal sends a member a signal: SIGSTOP freezes it, SIGCONT thaws it.
func (c *Cluster) Signal(i int, s syscall.Signal) error {
	if c.members[i].process == nil {
		return fmt.Errorf("etcdtest: member %d does not run", i)
	}
	return c.members[i].process.Process.Signal(s)
}

// Leader returns the member that the others follow.
func (c *Cluster) Leader(ctx context.Context) (int, error) {
	for i, m := range c.members {
		status, err := c.status(ctx, m)
		if err == nil && status.Leader == status.Header.GetMemberId() {
			return i, nil
		}
	}
	return 0, errors.New("etcdtest: no member is the leader")
}

func (c *Cluster) status(ctx context.Context, m *member) (*clientv3.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{m.client}, Logger: zap.NewNop()})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Status(ctx, m.client)
}

// Ready waits until every member that runs knows a leader.
func (c *Cluster) Ready(ctx context.Context) error {
	for _, m := range c.members {
		for m.process != nil {
			status, err := c.status(ctx, m)
			if err == nil && status.Leader != 0 {
				break
			}
			select {
			case <-m.ended:
				log, _ := os.ReadFile(filepath.Join(c.folder, m.name+".log")) // as much as there is
				return fmt.Errorf("etcdtest: %s has ended:\n%s", m.name, log)
			case <-ctx.Done():
				return errors.Join(fmt.Errorf("etcdtest: %s is not ready: %w", m.name, ctx.Err()), err)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

// Close kills all members. The folder stays.
func (c *Cluster) Close() error {
	var errs []error
	for i := range c.members {
		errs = append(errs, c.Kill(i))
	}
	return errors.Join(errs...)
}

// Wipe kills all members and removes what they have. Restart begins a new cluster
// at the same addresses.
func (c *Cluster) Wipe() error {
	errs := []error{c.Close()}
	for _, m := range c.members {
		errs = append(errs, os.RemoveAll(filepath.Join(c.folder, m.name)))
	}
	return errors.Join(errs...)
}
