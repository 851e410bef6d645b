package endpoint

import (
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	// maxPassword bounds a password file, in bytes.
	maxPassword = 4 << 10

	// maxPEM bounds a file of certificates or a key, in bytes. The certificates of all
	// public authorities take a quarter of it.
	maxPEM = 1 << 20
)

// readFile reads a file of at most limit bytes. Its errors name the file.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(all)) > limit {
		err = fmt.Errorf("%s: larger than %d bytes", name, limit)
	}
	return all, err
}

// readPassword reads a password from the file's only line, unless name is "".
func readPassword(to *string, name, which string) error {
	switch {
	case name == "":
		return nil
	case *to != "":
		return fmt.Errorf("%s is in the URL and in a file: give one of them", which)
	}
	all, err := readFile(name, maxPassword)
	if err != nil {
		return fmt.Errorf("%s: %w", which, err)
	}
	*to = strings.TrimSuffix(strings.TrimSuffix(string(all), "\n"), "\r")
	switch {
	case *to == "":
		return fmt.Errorf("%s: %s is empty", which, name)
	case strings.Contains(*to, "\n"):
		return fmt.Errorf("%s: %s has more than one line", which, name)
	}
	return nil
}
