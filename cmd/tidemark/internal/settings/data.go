package settings

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/tidemark/tidemark/streams/embedded"
)

// DataError describes an error of the embedded log in dir, with the operator's next step if
// the cause is known.
func DataError(dir string, err error) error {
	switch {
	case errors.Is(err, embedded.ErrLocked):
		return fmt.Errorf("--data %s: the log is in use by another process: stop that node, or choose another directory", dir)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("--data %s: the directory does not exist: name the directory of the log, or use --redis", dir)
	}
	return err
}
