package load

import "flag"

// Flags declares the flags of a load generator.
func Flags(flags *flag.FlagSet, options *Options) {
	flags.IntVar(&options.Inflight, "inflight", 1, "calls at a time, or streams, on one connection")
	flags.Float64Var(&options.Seconds, "seconds", 5, "how long to measure")
	flags.Float64Var(&options.Warmup, "warmup", 1, "seconds before that")
	flags.Float64Var(&options.Rate, "rate", 0, "calls per second, sent whatever the answers do")
	flags.IntVar(&options.Payload, "payload", 64, "bytes of a unary request")
	flags.IntVar(&options.Stream, "stream", 0, "measure server streaming of messages of this many bytes")
	flags.IntVar(&options.HeapMB, "heap-mb", 0, "keep this many megabytes of small linked objects alive")
}

// HoldFlags declares the flags of `hold`.
func HoldFlags(flags *flag.FlagSet, options *HoldOptions) {
	flags.IntVar(&options.Idle, "idle", 1000, "connections that do nothing after their first call")
	flags.IntVar(&options.Busy, "busy", 64, "connections that have one call at a time")
	flags.Float64Var(&options.Seconds, "seconds", 5, "how long the busy ones call")
	flags.IntVar(&options.Payload, "payload", 64, "bytes of a request")
	flags.IntVar(&options.Pid, "pid", 0, "the server's process, whose memory is sampled")
}
