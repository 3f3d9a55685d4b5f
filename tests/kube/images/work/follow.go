package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// follow gets a URL all the time, each time by a new connection, and prints when the outcome became another:
// microseconds since 1970, when the first call ended that had it, and whether it was answered.
func follow(ctx context.Context, url string, every time.Duration) error {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	last := ""
	for ; ctx.Err() == nil; time.Sleep(every) {
		now := fmt.Sprint(answered(client, url))
		if now != last {
			fmt.Println(time.Now().UnixMicro(), now)
		}
		last = now
	}
	return nil
}

func answered(client *http.Client, url string) bool {
	answer, err := client.Get(url)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err == nil && answer.StatusCode < 400
}
