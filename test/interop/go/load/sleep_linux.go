package load

import (
	"runtime"
	"syscall"
	"time"
)

// exactly gives the calling goroutine a thread of its own and a sleep on it that the kernel ends as
// soon as it can, because Go rounds sleeps of less than a millisecond up to one. Call `done` at the end.
func exactly() (sleep func(time.Duration), done func()) {
	runtime.LockOSThread()
	const setTimerSlack = 29
	syscall.RawSyscall(syscall.SYS_PRCTL, setTimerSlack, 1, 0)
	return func(wait time.Duration) {
		pause := syscall.NsecToTimespec(int64(wait))
		_ = syscall.Nanosleep(&pause, nil)
	}, runtime.UnlockOSThread
}
