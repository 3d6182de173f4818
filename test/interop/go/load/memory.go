package load

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Memory is one sample of a process, in kilobytes, from /proc.
type Memory struct {
	RSS       int `json:"rssKB"`
	Anonymous int `json:"anonymousKB"`
	Peak      int `json:"peakRssKB"`
	Threads   int `json:"threads"`
}

// MemoryOf reads what the kernel says about a process.
func MemoryOf(pid int) (Memory, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Memory{}, err
	}
	defer file.Close()
	var memory Memory
	fields := map[string]*int{
		"VmRSS": &memory.RSS, "RssAnon": &memory.Anonymous, "VmHWM": &memory.Peak, "Threads": &memory.Threads,
	}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		if field, ok := fields[name]; ok {
			*field, _ = strconv.Atoi(strings.Fields(rest)[0])
		}
	}
	return memory, lines.Err()
}

// HoldOptions are the flags of `hold`.
type HoldOptions struct {
	Idle, Busy, Payload, Pid int
	Seconds                  float64
}

// Held is what `hold` prints. The samples are those of the process `--pid`; without it they are zero.
type Held struct {
	Peer      string  `json:"peer"`
	Idle      int     `json:"idle"`
	Busy      int     `json:"busy"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"perSecond"`
	Errors    uint64  `json:"errors"`
	Before    Memory  `json:"before"`
	// WhileIdle is taken with only the idle connections open.
	WhileIdle Memory `json:"whileIdle"`
	// WhileBusy has the highest RSS of one sample each 50 ms during the calls.
	WhileBusy Memory `json:"whileBusy"`
	After     Memory `json:"after"`
}

// Connection is one connection that can make a call.
type Connection interface {
	Call() error
	Close() error
}

// Hold opens the idle connections (each makes one call first, so that it is fully set up), samples,
// then opens the busy ones, each with one call at a time, and samples again.
func Hold(options HoldOptions, dial func() (Connection, error)) (Held, error) {
	held := Held{Idle: options.Idle, Busy: options.Busy, Seconds: options.Seconds}
	if options.Idle < 0 || options.Idle > 100_000 || options.Busy < 0 || options.Busy > 10_000 ||
		options.Seconds <= 0 || options.Seconds > 600 {
		return held, fmt.Errorf("--idle 0..100000, --busy 0..10000, --seconds up to 600")
	}
	var failure error
	sample := func() Memory {
		if options.Pid == 0 {
			return Memory{}
		}
		memory, err := MemoryOf(options.Pid)
		if err != nil && failure == nil {
			failure = err
		}
		return memory
	}
	held.Before = sample()
	open := func(count int) ([]Connection, error) {
		connections := make([]Connection, 0, count)
		for range count {
			connection, err := dial()
			if err == nil {
				err = connection.Call()
			}
			if err != nil {
				return connections, fmt.Errorf("connection %d: %w", len(connections), err)
			}
			connections = append(connections, connection)
		}
		return connections, nil
	}
	idle, err := open(options.Idle)
	if err != nil {
		return held, err
	}
	time.Sleep(2 * time.Second)
	held.WhileIdle = sample()
	busy, err := open(options.Busy)
	if err != nil {
		return held, err
	}
	var (
		calls, failures atomic.Uint64
		stop            atomic.Bool
		group           sync.WaitGroup
	)
	for _, connection := range busy {
		group.Go(func() {
			for !stop.Load() {
				if err := connection.Call(); err != nil {
					failures.Add(1)
					return
				}
				calls.Add(1)
			}
		})
	}
	begun := time.Now()
	for until := begun.Add(seconds(options.Seconds)); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if now := sample(); now.RSS > held.WhileBusy.RSS {
			held.WhileBusy = now
		}
	}
	elapsed := time.Since(begun)
	stop.Store(true)
	group.Wait()
	held.PerSecond = float64(calls.Load()) / elapsed.Seconds()
	held.Errors = failures.Load()
	for _, connection := range append(idle, busy...) {
		connection.Close()
	}
	time.Sleep(2 * time.Second)
	held.After = sample()
	return held, failure
}
