package load

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Each power of two is cut into this many buckets, so a percentile is at most 0.8 % off.
const (
	subBits    = 7
	subBuckets = 1 << subBits
)

// Histogram counts durations in buckets whose width grows with the value. Safe for use by many
// goroutines; it allocates nothing after it was made.
type Histogram struct {
	counts [(64 - subBits + 1) * subBuckets]atomic.Uint64
	total  atomic.Uint64
	sum    atomic.Uint64
	max    atomic.Uint64
}

func bucketOf(nanos uint64) int {
	if nanos < subBuckets {
		return int(nanos)
	}
	shift := bits.Len64(nanos) - subBits - 1
	return (shift+1)*subBuckets + int(nanos>>shift) - subBuckets
}

// upperOf gives the largest value that falls into the bucket.
func upperOf(bucket int) uint64 {
	if bucket < subBuckets {
		return uint64(bucket)
	}
	shift := bucket/subBuckets - 1
	return (uint64(bucket%subBuckets+subBuckets+1) << shift) - 1
}

// Record adds one duration.
func (h *Histogram) Record(duration time.Duration) {
	nanos := uint64(max(duration, 0))
	h.counts[bucketOf(nanos)].Add(1)
	h.total.Add(1)
	h.sum.Add(nanos)
	for {
		seen := h.max.Load()
		if nanos <= seen || h.max.CompareAndSwap(seen, nanos) {
			return
		}
	}
}

// Latency is what a histogram says, in microseconds.
type Latency struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

func (h *Histogram) quantile(part float64) float64 {
	total := h.total.Load()
	if total == 0 {
		return 0
	}
	wanted := uint64(part * float64(total))
	var seen uint64
	for bucket := range h.counts {
		seen += h.counts[bucket].Load()
		if seen > wanted {
			return micros(min(upperOf(bucket), h.max.Load()))
		}
	}
	return micros(h.max.Load())
}

// Latency sums the histogram up.
func (h *Histogram) Latency() Latency {
	latency := Latency{
		P50: h.quantile(0.5), P99: h.quantile(0.99), P999: h.quantile(0.999), Max: micros(h.max.Load()),
	}
	if total := h.total.Load(); total > 0 {
		latency.Mean = micros(h.sum.Load() / total)
	}
	return latency
}

func micros(nanos uint64) float64 {
	return float64(nanos/10) / 100
}
