package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	jump "github.com/dgryski/go-jump"
	rendezvous "github.com/dgryski/go-rendezvous"
	"github.com/serialx/hashring"

	"github.com/enclavepool/enclavepool/routing"
)

// hashing makes a function that chooses one of the ids for a key; the function
// may be called by one goroutine at a time.
type hashing struct {
	name   string
	weight func(id string) int
	make   func(ids []string) func(key string) string
}

// hashings has ours first.
var hashings = []hashing{
	{"routing.NewRendezvous", alike, ours(routing.NewRendezvous(), alike)},
	{"the same, all weights differ", byNumber, ours(routing.NewRendezvous(), byNumber)},
	{"routing.NewSticky around it", alike, func(ids []string) func(string) string {
		return ours(routing.NewSticky(routing.NewRendezvous()), alike)(ids)
	}},
	{"unweighted rendezvous", alike, func(ids []string) func(string) string {
		return rendezvous.New(ids, xxhash.Sum64String).Lookup
	}},
	{"ketama ring", alike, func(ids []string) func(string) string {
		ring := hashring.New(ids)
		return func(key string) string {
			id, _ := ring.GetNode(key)
			return id
		}
	}},
	{"jump", alike, func(ids []string) func(string) string {
		return func(key string) string { return ids[jump.Hash(xxhash.Sum64String(key), len(ids))] }
	}},
}

func alike(string) int { return 1 }

// byNumber is one more than the number at the end of an ID.
func byNumber(id string) int {
	n, _ := strconv.Atoi(id[strings.LastIndexByte(id, '-')+1:])
	return 1 + n
}

func ours(sel routing.Selector, weight func(string) int) func([]string) func(string) string {
	return func(ids []string) func(string) string {
		members := make([]routing.Member, len(ids))
		for i, id := range ids {
			members[i] = routing.Member{ID: id, Weight: weight(id), Capacity: 3200}
		}
		v, ctx := routing.NewView(1, members...), context.Background()
		return func(key string) string {
			id, _ := sel.Select(ctx, v, key)
			return id
		}
	}
}
