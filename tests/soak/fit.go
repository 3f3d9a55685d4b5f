package main

import "slices"

// trend is what a figure did over some samples.
type trend struct {
	gain   float64 // slope by time
	middle float64 // median
}

// gained fits a line by the median of the slopes between all pairs (Theil and Sen): neither a garbage
// collector's teeth nor a single outlier bend it.
func gained(samples []Sample, value func(Sample) float64) trend {
	if len(samples) < 2 {
		return trend{}
	}
	var slopes, values []float64
	for i, a := range samples {
		values = append(values, value(a))
		for _, b := range samples[i+1:] {
			if b.At > a.At {
				slopes = append(slopes, (value(b)-value(a))/(b.At-a.At))
			}
		}
	}
	return trend{median(slopes) * (samples[len(samples)-1].At - samples[0].At), median(values)}
}

func median(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}
