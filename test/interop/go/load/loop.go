package load

import (
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the flags that every load generator takes.
type Options struct {
	Inflight int
	Seconds  float64
	Warmup   float64
	// Rate is calls per second of the open loop; 0 means the closed loop.
	Rate float64
	// Payload is the size of a unary request, Stream of a streamed message; Stream > 0 measures
	// server streaming instead of unary calls.
	Payload int
	Stream  int
	HeapMB  int
}

// Check refuses what would measure nothing or never end.
func (o Options) Check() error {
	switch {
	case o.Inflight < 1 || o.Inflight > 100_000:
		return errors.New("--inflight must be from 1 to 100000")
	case o.Seconds <= 0 || o.Seconds > 3600:
		return errors.New("--seconds must be above 0 and at most 3600")
	case o.Warmup < 0 || o.Warmup > 60:
		return errors.New("--warmup must be from 0 to 60")
	case o.Rate < 0 || o.Rate > 10_000_000:
		return errors.New("--rate must be from 0 to 10000000")
	case o.Rate > 0 && o.Stream > 0:
		return errors.New("--rate measures unary calls, --stream does not")
	}
	return nil
}

// Result is the one JSON line of a run.
type Result struct {
	Peer     string  `json:"peer"`
	Mode     string  `json:"mode"`
	Inflight int     `json:"inflight"`
	Seconds  float64 `json:"seconds"`
	Bytes    int     `json:"bytes"`
	Rate     float64 `json:"rate,omitempty"`
	// Calls counts calls, or messages when mode is "stream".
	Calls     uint64  `json:"calls"`
	PerSecond float64 `json:"perSecond"`
	Errors    uint64  `json:"errors"`
	// Late counts calls of the open loop that found its queue full and were not sent at all.
	Late    uint64   `json:"late,omitempty"`
	Latency *Latency `json:"latencyMicros,omitempty"`
	// Lag is how long after its intended time a call of the open loop was begun: the load
	// generator's own share of the latency.
	Lag *Latency `json:"lagMicros,omitempty"`
	// LongestGCPause is that of the load generator itself, not of the server.
	LongestGCPause float64 `json:"clientLongestGCPauseMicros"`
}

// Print writes the value as one line of JSON.
func Print(value any) error {
	line, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(append(line, '\n'))
	return err
}

// LongestGCPause gives the longest stop-the-world pause among the last 256, in microseconds.
func LongestGCPause() float64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	var longest uint64
	for _, pause := range stats.PauseNs {
		longest = max(longest, pause)
	}
	return micros(longest)
}

type node struct {
	next *node
	rest [56]byte
}

// LiveHeap gives that many megabytes of small objects linked to each other, so that a collector has
// to walk all of them. Keep what it returns alive.
func LiveHeap(megabytes int) []*node {
	heads := make([]*node, 0, megabytes)
	for range megabytes {
		var head *node
		for range (1 << 20) / 64 {
			head = &node{next: head}
		}
		heads = append(heads, head)
	}
	return heads
}

const (
	warming int32 = iota
	measuring
	stopping
)

// Closed keeps `Inflight` callers busy, each with one call at a time. `call` is made once per caller,
// so that it can keep its own buffers.
func Closed(options Options, caller func() func() error) (Result, error) {
	result := Result{Mode: "unary", Inflight: options.Inflight, Bytes: options.Payload}
	var (
		histogram = new(Histogram)
		phase     atomic.Int32
		failures  atomic.Uint64
		firstErr  error
		once      sync.Once
		group     sync.WaitGroup
	)
	for range options.Inflight {
		call := caller()
		group.Go(func() {
			for phase.Load() != stopping {
				measured := phase.Load() == measuring
				begun := time.Now()
				if err := call(); err != nil {
					failures.Add(1)
					once.Do(func() { firstErr = err })
					return
				}
				if measured && phase.Load() == measuring {
					histogram.Record(time.Since(begun))
				}
			}
		})
	}
	time.Sleep(seconds(options.Warmup))
	phase.Store(measuring)
	begun := time.Now()
	time.Sleep(seconds(options.Seconds))
	phase.Store(stopping)
	elapsed := time.Since(begun)
	group.Wait()
	fill(&result, elapsed, histogram)
	result.Errors = failures.Load()
	return result, firstErr
}

// Open sends calls at a fixed rate whatever the answers do, and measures each from the moment it was
// meant to be sent, so that a server that stalls is charged for everything that queued meanwhile.
func Open(options Options, caller func() func() error) (Result, error) {
	result := Result{Mode: "open", Inflight: options.Inflight, Bytes: options.Payload, Rate: options.Rate}
	var (
		histogram = new(Histogram)
		lag       = new(Histogram)
		failures  atomic.Uint64
		firstErr  error
		once      sync.Once
		group     sync.WaitGroup
		due       = make(chan time.Time, 1<<18)
		begun     = time.Now()
		from      = begun.Add(seconds(options.Warmup))
		until     = from.Add(seconds(options.Seconds))
	)
	for range options.Inflight {
		call := caller()
		group.Go(func() {
			for intended := range due {
				started := time.Now()
				if err := call(); err != nil {
					failures.Add(1)
					once.Do(func() { firstErr = err })
					continue
				}
				if !intended.Before(from) {
					histogram.Record(time.Since(intended))
					lag.Record(started.Sub(intended))
				}
			}
		})
	}
	result.Late = schedule(due, begun, until, options.Rate)
	close(due)
	group.Wait()
	fill(&result, until.Sub(from), histogram)
	spread := lag.Latency()
	result.Lag = &spread
	result.Errors = failures.Load()
	return result, firstErr
}

// schedule puts each intended time into the queue when it has come, and counts those that found it
// full.
func schedule(due chan<- time.Time, begun, until time.Time, rate float64) (late uint64) {
	sleep, done := exactly()
	defer done()
	step := float64(time.Second) / rate
	for index := 0; ; index++ {
		intended := begun.Add(time.Duration(float64(index) * step))
		if !intended.Before(until) {
			return late
		}
		if wait := time.Until(intended); wait > 5*time.Microsecond {
			sleep(wait)
		}
		select {
		case due <- intended:
		default:
			late++
		}
	}
}

// Streams keeps `Inflight` streams busy. `stream` reads messages and calls `received` for each until
// the stream ends or `received` says stop; it is called again until the time is over.
func Streams(options Options, stream func(received func() bool) error) (Result, error) {
	result := Result{Mode: "stream", Inflight: options.Inflight, Bytes: options.Stream}
	var (
		phase    atomic.Int32
		messages atomic.Uint64
		failures atomic.Uint64
		firstErr error
		once     sync.Once
		group    sync.WaitGroup
	)
	for range options.Inflight {
		group.Go(func() {
			for phase.Load() != stopping {
				err := stream(func() bool {
					now := phase.Load()
					if now == measuring {
						messages.Add(1)
					}
					return now != stopping
				})
				if err != nil {
					failures.Add(1)
					once.Do(func() { firstErr = err })
					return
				}
			}
		})
	}
	time.Sleep(seconds(options.Warmup))
	phase.Store(measuring)
	begun := time.Now()
	time.Sleep(seconds(options.Seconds))
	phase.Store(stopping)
	elapsed := time.Since(begun)
	group.Wait()
	result.Seconds = elapsed.Seconds()
	result.Calls = messages.Load()
	result.PerSecond = float64(result.Calls) / result.Seconds
	result.Errors = failures.Load()
	result.LongestGCPause = LongestGCPause()
	return result, firstErr
}

func fill(result *Result, elapsed time.Duration, histogram *Histogram) {
	latency := histogram.Latency()
	result.Latency = &latency
	result.Seconds = elapsed.Seconds()
	result.Calls = histogram.total.Load()
	result.PerSecond = float64(result.Calls) / result.Seconds
	result.LongestGCPause = LongestGCPause()
}

func seconds(value float64) time.Duration {
	return time.Duration(value * float64(time.Second))
}
