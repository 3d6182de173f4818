//go:build !linux

package load

import "time"

// exactly is as exact as Go's own sleep where the kernel is not Linux.
func exactly() (sleep func(time.Duration), done func()) {
	return time.Sleep, func() {}
}
