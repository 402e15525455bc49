// A web server as Go's standard library has it, on the listener that its host hands in as descriptor
// 3. It serves as many requests as its argument says, then shuts down.
package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	count, err := strconv.Atoi(os.Args[1])
	must(err)
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	must(err)
	var served atomic.Int64
	enough := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		var asked struct{ Numbers []int }
		must(json.NewDecoder(request.Body).Decode(&asked))
		sum := 0
		for _, number := range asked.Numbers {
			sum += number
		}
		answer.Header().Set("Content-Type", "application/json")
		must(json.NewEncoder(answer).Encode(map[string]any{"path": request.URL.Path, "sum": sum}))
		if served.Add(1) == int64(count) {
			close(enough)
		}
	})}
	go func() {
		<-enough
		must(server.Shutdown(context.Background()))
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		panic(err)
	}
	println("served", count)
}
