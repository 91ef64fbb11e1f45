package testbed

import (
	"math"

	"bumpless/iec61850/sv"
)

// Nominal values of the waves: a 110 kV feeder at half load.
const (
	frequencyHz = 50
	currentMA   = 500_000   // RMS
	voltage10mV = 63_500_00 // RMS, phase to earth
)

// waves are the eight channels of PhsMeas1 at a moment, in seconds.
func waves(t float64) (m [sv.Channels]sv.Measurement) {
	for phase := range 3 {
		angle := 2*math.Pi*frequencyHz*t - float64(phase)*2*math.Pi/3
		m[phase].Value = int32(currentMA * math.Sqrt2 * math.Sin(angle-0.3))
		m[4+phase].Value = int32(voltage10mV * math.Sqrt2 * math.Sin(angle))
	}
	return m // the neutral channels of a symmetrical system are 0
}
