package chart_test

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/bench/internal/chart"
)

// elements parses a picture and returns how many elements of each name it has.
func elements(t *testing.T, svg string) map[string]int {
	t.Helper()
	found := map[string]int{}
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		require.NoError(t, err)
		if start, is := token.(xml.StartElement); is {
			found[start.Name.Local]++
		}
	}
}

func example() chart.Chart {
	return chart.Chart{Title: "Speed & <more>", Unit: "ms", Series: []chart.Series{
		{Name: "a", Points: []chart.Point{{Label: "1", Value: 10}, {Label: "2", Value: 20_000}}},
		{Name: "b", Points: []chart.Point{{Label: "1", Value: 0}}},
	}}
}

func TestEveryValueHasABar(t *testing.T) {
	svg := example().Bars()
	require.Equal(t, 1+3, elements(t, svg)["rect"], "the paper and three bars")
	require.Contains(t, svg, "20k ms")
	require.Contains(t, svg, "Speed &amp; &lt;more&gt;")
}

func TestBarsAreAsLongAsTheirValues(t *testing.T) {
	svg := chart.Chart{Series: []chart.Series{{Name: "a", Points: []chart.Point{{Label: "x", Value: 50}, {Label: "y", Value: 100}}}}}.Bars()
	require.Contains(t, svg, `width="520.0"`)
	require.Contains(t, svg, `width="260.0"`)
}

func TestEveryValueHasAPointOnItsLine(t *testing.T) {
	svg := example().Lines()
	found := elements(t, svg)
	require.Equal(t, 3, found["circle"])
	require.Equal(t, 2, found["polyline"])
}

func TestALogarithmicScaleShowsSmallValues(t *testing.T) {
	c := chart.Chart{Log: true, Series: []chart.Series{{Name: "a", Points: []chart.Point{{Label: "x", Value: 1}, {Label: "y", Value: 1000}}}}}
	svg := c.Bars()
	require.NotContains(t, svg, `width="1.0"`, "the small one is more than a hair")
	require.Contains(t, svg, "(logarithmic)")
}

func TestWhatWasNotMeasuredIsNamed(t *testing.T) {
	svg := chart.Chart{Series: []chart.Series{
		{Name: "never", Points: []chart.Point{{Value: math.NaN()}}}, {Name: "once", Points: []chart.Point{{Value: 4}}},
	}}.Bars()
	require.Contains(t, svg, ">never<")
	require.NotContains(t, svg, "NaN")
	require.Contains(t, svg, `width="520.0"`)
}

func TestNothingToDrawIsAPictureToo(t *testing.T) {
	elements(t, chart.Chart{Title: "none"}.Bars())
	elements(t, chart.Chart{Title: "none"}.Lines())
}
