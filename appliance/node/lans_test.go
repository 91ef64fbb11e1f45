package node

import (
	"slices"
	"testing"

	"bumpless/appliance/config"
	"bumpless/migrate/gateway"
)

// A destination listens at its LAN A address first: so the gateway matches them.
func TestASourcesGatewayIsToldOfBothLANsInTheOrderOfTheAddresses(t *testing.T) {
	links := config.Links{LanA: config.Link{CapacityMbitPerS: 1000, ReserveMbitPerS: 100}, LanB: config.Link{ReserveMbitPerS: 10}}
	want := []gateway.LAN{{CapacityMbitPerS: 1000, ReserveMbitPerS: 100}, {ReserveMbitPerS: 10}}
	if got := lansOf(links); !slices.Equal(got, want) {
		t.Errorf("lansOf() = %+v; want %+v", got, want)
	}
	host := config.Host{LanA: "10.0.0.1", LanB: "10.0.1.1"}
	if got := host.Addresses(); !slices.Equal(got, []string{host.LanA, host.LanB}) {
		t.Errorf("Addresses() = %v; want LAN A's first", got)
	}
}
