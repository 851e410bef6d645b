package report

import (
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/tidemark/tidemark/bench/result"
)

// bars are lying bars, one for each figure from the bottom up: as long as the
// median, with a thin line from the least to the greatest value, and the median at the end.
// gonum's own bars have neither.
type bars struct {
	figures []*result.Figure
	limits  []float64 // where the figure of Tidemark has to be
	text    text.Style
}

// barWidth is how much of a figure's place its bar takes.
const barWidth = 0.62

// DataRange leaves room on the right for the numbers.
func (b bars) DataRange() (xmin, xmax, ymin, ymax float64) {
	for _, f := range b.figures {
		xmax = max(xmax, slices.Max(append([]float64{f.Median()}, f.Values...)))
	}
	for _, limit := range b.limits {
		xmax = max(xmax, limit)
	}
	if xmax == 0 {
		xmax = 1
	}
	return 0, 1.12 * xmax, -0.5, float64(len(b.figures)) - 0.5
}

// Plot draws them.
func (b bars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for i, f := range b.figures {
		low, middle, high := y(float64(i)-barWidth/2), y(float64(i)), y(float64(i)+barWidth/2)
		end := x(max(0, f.Median()))
		c.FillPolygon(colour(f.System), []vg.Point{{X: x(0), Y: low}, {X: end, Y: low}, {X: end, Y: high}, {X: x(0), Y: high}})
		if len(f.Values) > 1 {
			end = max(end, x(slices.Max(f.Values)))
			c.StrokeLine2(draw.LineStyle{Color: ink, Width: 0.7}, x(slices.Min(f.Values)), middle, x(slices.Max(f.Values)), middle)
		}
		style := b.text
		style.XAlign, style.YAlign = text.XLeft, text.YCenter
		c.FillText(style, vg.Point{X: end + 4, Y: middle}, result.Number(f.Median()))
	}
	for _, limit := range b.limits {
		c.StrokeLine2(draw.LineStyle{Color: ink, Width: 0.7, Dashes: []vg.Length{3, 2}}, x(limit), c.Min.Y, x(limit), c.Max.Y)
	}
}
