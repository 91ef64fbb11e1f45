package console

import (
	"cmp"
	"context"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"bumpless/appliance/api"
	"bumpless/appliance/config"
	"bumpless/migrate/link"
)

// target is the daemon that a command line talks to.
type target struct {
	program Program
	ctx     context.Context // of the command line, which the target is for

	socket, site, host string
	cert, key, ca      string
}

func (t *target) addFlags(root *cobra.Command) error {
	f := root.PersistentFlags()
	f.StringVar(&t.socket, "socket", "", "talk to the daemon at this unix `path`")
	f.StringVar(&t.site, "site", "", "the site `file`; default $BUMPLESS_SITE, then "+DefaultSite)
	f.StringVar(&t.host, "host", "", "talk to the daemon of the host `name` by mutual TLS; default: this host's own, by its socket")
	f.StringVar(&t.cert, "cert", "", "your certificate's `file`")
	f.StringVar(&t.key, "key", "", "its key's `file`; default: that of --cert, ending in .key")
	f.StringVar(&t.ca, "ca", "", "the site's authority's `file`; default ca.crt in the site's pki_dir")
	return root.RegisterFlagCompletionFunc("host", t.hosts)
}

func (t *target) sitePath() string {
	return cmp.Or(t.site, os.Getenv("BUMPLESS_SITE"), DefaultSite)
}

// load reads the site file.
func (t *target) load() (config.Site, error) {
	return interruptible(t.ctx, func() (config.Site, error) { return config.Load(t.sitePath()) })
}

// interruptible does what may never end, such as reading from a medium that does
// not answer, and leaves it alone once ctx ends: the signals that would end the
// program are caught.
func interruptible[T any](ctx context.Context, do func() (T, error)) (T, error) {
	var result T
	var err error
	done := make(chan struct{})
	go func() {
		result, err = do()
		close(done)
	}()
	select {
	case <-done:
		return result, err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// open chooses the daemon: --socket, this host's own socket, or --host by TLS.
func (t *target) open() (api.Backend, error) {
	if t.socket != "" && t.host != "" {
		return nil, misused("say --socket or --host, not both")
	}
	if t.socket != "" {
		return api.NewLocalClient(t.socket), nil
	}
	site, err := t.load()
	if err != nil {
		return nil, err
	}
	if t.host == "" {
		return api.NewLocalClient(t.program.Socket(site)), nil
	}
	h, ok := site.Host(t.host)
	if !ok {
		return nil, misused("no host %q in %s, there are %s", t.host, t.sitePath(), strings.Join(named(site), ", "))
	}
	if t.cert == "" {
		return nil, misused("--host %s needs your certificate: say --cert FILE (`bumpless pki operator` makes one)", t.host)
	}
	if strings.HasSuffix(t.cert, ".key") {
		return nil, misused("--cert %s: --cert wants the .crt (its key is found beside it, or named by --key)", t.cert)
	}
	files := link.Files{Cert: t.cert, Key: cmp.Or(t.key, strings.TrimSuffix(t.cert, ".crt")+".key"), CA: cmp.Or(t.ca, site.PKIDir+"/ca.crt")}
	tlsConfig, err := interruptible(t.ctx, files.Load)
	if err != nil {
		return nil, err
	}
	return api.NewClient(h.Name, h.Addresses(), h.APIPort, tlsConfig).WithFiles(files.Cert, files.CA), nil
}

// hosts completes --host.
func (t *target) hosts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	site, err := t.load()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return named(site), cobra.ShellCompDirectiveNoFileComp
}

func named(site config.Site) (list []string) {
	for _, h := range site.Hosts {
		list = append(list, h.Name)
	}
	return list
}
