// What a Go program expects of its host, through the standard library for wasip1. Run in an empty
// directory that it knows as /data; what it finds to be otherwise ends it.
package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func expect(met bool, what string) {
	if !met {
		panic("expected " + what)
	}
}

func fails(err, with error, what string) {
	if !errors.Is(err, with) {
		println("got:", err)
		panic(what)
	}
}

func files() {
	path := "/data/file"
	must(os.WriteFile(path, []byte("one\n"), 0o666))
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	must(err)
	_, err = file.WriteString("two\n")
	must(err)
	must(file.Close())
	text, err := os.ReadFile(path)
	must(err)
	expect(string(text) == "one\ntwo\n", "what was appended")

	file, err = os.OpenFile(path, os.O_RDWR, 0)
	must(err)
	_, err = file.WriteAt([]byte("ONE"), 0)
	must(err)
	at, err := file.Seek(-4, io.SeekEnd)
	expect(err == nil && at == 4, "a position")
	rest, err := io.ReadAll(file)
	expect(err == nil && string(rest) == "two\n", "the rest of the file")
	must(file.Truncate(3))
	must(file.Sync())
	info, err := file.Stat()
	expect(err == nil && info.Size() == 3 && info.Mode().IsRegular(), "a file of 3 bytes")
	must(file.Close())
	_, err = file.Write(nil)
	fails(err, os.ErrClosed, "a closed file")

	_, err = os.Open("/data/missing")
	fails(err, fs.ErrNotExist, "a missing file")
	_, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	fails(err, fs.ErrExist, "a file that exists")
	_, err = os.Open("/data/../../etc/passwd")
	expect(err != nil, "no way out")
	when := time.Unix(1_000_000_000, 123_456_789)
	must(os.Chtimes(path, when, when))
	info, err = os.Stat(path)
	expect(err == nil && info.ModTime().Equal(when), "the time that was set")
}

func directories() {
	must(os.MkdirAll("/data/tree/a/b", 0o777))
	for index := range 300 {
		must(os.WriteFile("/data/tree/a/"+strconv.Itoa(index), nil, 0o666))
	}
	entries, err := os.ReadDir("/data/tree/a")
	must(err)
	expect(len(entries) == 301 && entries[300].Name() == "b" && entries[300].IsDir(), "a listing")
	must(os.Rename("/data/tree/a/7", "/data/tree/seven"))
	must(os.Symlink("seven", "/data/tree/link"))
	target, err := os.Readlink("/data/tree/link")
	expect(err == nil && target == "seven", "a link's target")
	info, err := os.Lstat("/data/tree/link")
	expect(err == nil && info.Mode()&fs.ModeSymlink != 0, "a link")
	fails(os.Remove("/data/tree/a"), syscall.ENOTEMPTY, "a directory that is not empty")
	seen := 0
	must(filepath.WalkDir("/data/tree", func(_ string, entry fs.DirEntry, err error) error {
		seen++
		return err
	}))
	expect(seen == 304, "all that is below")
	must(os.RemoveAll("/data/tree"))
	_, err = os.Stat("/data/tree")
	fails(err, fs.ErrNotExist, "a removed tree")
}

// Goroutines that wait take their turns over poll_oneoff.
func goroutines() int {
	var group sync.WaitGroup
	sums := make(chan int, 10)
	for index := range 10 {
		group.Go(func() {
			time.Sleep(time.Duration(10-index) * 100 * time.Microsecond)
			sums <- index
		})
	}
	group.Wait()
	close(sums)
	sum := 0
	for index := range sums {
		sum += index
	}
	return sum
}

func main() {
	for _, argument := range os.Args {
		os.Stdout.WriteString("argument: " + argument + "\n")
	}
	for _, variable := range os.Environ() {
		os.Stdout.WriteString("variable: " + variable + "\n")
	}
	input, err := io.ReadAll(os.Stdin)
	must(err)
	os.Stdout.WriteString("input: " + string(input))
	files()
	directories()
	start := time.Now()
	expect(goroutines() == 45, "all goroutines")
	expect(time.Since(start) >= time.Millisecond && start.Unix() > 1_700_000_000, "a clock")
	os.Stderr.WriteString("to standard error\n")
	os.Stdout.WriteString("all as it should be\n")
	os.Exit(7)
}
