// Command mkguest builds the protection guest: it compiles protguest, fetches
// Debian's kernel and packs both. With -userland it also packs the programs that
// the bench's loads are made of. What is there already is not made again.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	guestimage "bumpless/image/build"
)

func main() {
	cache := flag.String("cache", "out/cache", "folder for what is fetched and built")
	userland := flag.Bool("userland", false, "also the image with a database, a key-value store and a compiler")
	flag.Parse()
	if err := build(context.Background(), *cache, *userland); err != nil {
		fmt.Fprintln(os.Stderr, "mkguest:", err)
		os.Exit(1)
	}
}

func build(ctx context.Context, cache string, userland bool) error {
	cache, err := filepath.Abs(cache)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	program := filepath.Join(cache, "protguest")
	compile := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "./appliance/testbed/protguest")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0")
	compile.Stdout, compile.Stderr = os.Stdout, os.Stderr
	if err := compile.Run(); err != nil {
		return fmt.Errorf("compile protguest: %w", err)
	}
	progress := func(step string) { fmt.Println("mkguest:", step) }
	artifacts, err := guestimage.Guest(ctx, guestimage.Options{CacheDir: cache, Init: program, Progress: progress})
	if err != nil {
		return err
	}
	fmt.Println(artifacts.Kernel)
	fmt.Println(artifacts.Initrd)
	if !userland {
		return nil
	}
	image, err := makeUserland(ctx, cache, progress)
	if err != nil {
		return err
	}
	fmt.Println(image)
	return nil
}
