package server

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ambitmesh/ambit/controller/state"
)

// nextEpoch returns a number higher than at any earlier start. It is the time where that is higher, so
// that a controller whose state directory was lost is not taken for one that is behind.
func nextEpoch(dir string, now time.Time) (uint32, error) {
	path := filepath.Join(dir, "epoch")
	var last uint64
	b, err := os.ReadFile(path)
	switch {
	case err == nil:
		if last, err = strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32); err != nil {
			return 0, fmt.Errorf("read epoch %s: %w", path, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return 0, fmt.Errorf("read epoch: %w", err)
	}
	next := max(last+1, uint64(max(now.Unix(), 1)))
	if next > math.MaxUint32 {
		return 0, fmt.Errorf("epoch %d is too high", next)
	}
	return uint32(next), state.WriteFile(path, []byte(strconv.FormatUint(next, 10)+"\n"), 0o600)
}
