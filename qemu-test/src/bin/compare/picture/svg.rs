//! Drawing of a chart as SVG 2: groups of horizontal bars from one decade to another.
//!
//! Colours follow the page: light, or dark where the reader's system asks for it (`prefers-color-scheme`).

use super::chart::{Chart, Group};
use crate::stats::Spread;
use std::fmt::Write;

/// Geometry in pixels.
const WIDTH: f64 = 940.0;
const LABELS: f64 = 330.0;
const RIGHT: f64 = 70.0;
const HEAD: f64 = 78.0;
const FOOT: f64 = 34.0;
const BAR: f64 = 11.0;
const BETWEEN_GROUPS: f64 = 9.0;
const LEGEND_WIDTH: f64 = 190.0;

/// Colours of the series, in order.
const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#24292f}\
    .title{font-size:16px;font-weight:600}.faint{fill:#57606a}.value{font-size:10px}\
    .paper{fill:#fff}.grid{stroke:#d8dee4}.spread{stroke:#24292f}\
    .s0{fill:#0a7d5a}.s1{fill:#3b6fd4}.s2{fill:#b0b7bf}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.faint{fill:#9198a1}.paper{fill:#0d1117}\
    .grid{stroke:#30363d}.spread{stroke:#e6edf3}.s0{fill:#2fbf8f}.s1{fill:#6ea0ff}.s2{fill:#59636e}}";

/// Logarithmic scale of whole decades.
struct Scale {
    first: i32,
    last: i32,
}

impl Scale {
    /// Scale with room for all numbers of a chart.
    fn of(groups: &[Group]) -> Self {
        let spreads = || groups.iter().flat_map(|group| &group.bars).flatten();
        let low = spreads().map(|spread| spread.min).fold(f64::INFINITY, f64::min);
        let high = spreads().map(|spread| spread.max).fold(0.0, f64::max);
        let decade = |number: f64| if number > 0.0 && number.is_finite() { number.log10() } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, reason = "a float has fewer than 400 decades")]
        let (first, last) = (decade(low).floor() as i32, decade(high).ceil() as i32);
        Self { first, last: last.max(first + 1) }
    }

    fn x(&self, number: f64) -> f64 {
        let share = (number.log10() - f64::from(self.first)) / f64::from(self.last - self.first);
        LABELS + share * (WIDTH - LABELS - RIGHT)
    }
}

/// Draws a chart.
pub(super) fn draw(chart: &Chart) -> String {
    let scale = Scale::of(&chart.groups);
    let bars = chart.series.len();
    let heights = chart.groups.iter().map(|_| height_of_group(bars)).sum::<f64>();
    let height = HEAD + heights + FOOT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{title}\">\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text class=\"title\" x=\"12\" y=\"24\">{title}</text>\n\
         <text class=\"faint\" x=\"12\" y=\"42\">{unit}</text>\n",
        title = escaped(chart.title),
        unit = escaped(chart.unit),
    );
    svg += &legend(&chart.series);
    svg += &grid(&scale, height);
    let mut top = HEAD;
    for group in &chart.groups {
        svg += &draw_group(group, &scale, top);
        top += height_of_group(bars);
    }
    svg + "</svg>\n"
}

#[expect(clippy::cast_precision_loss, reason = "a chart has a few series")]
fn height_of_group(bars: usize) -> f64 {
    bars as f64 * BAR + BETWEEN_GROUPS
}

fn legend(series: &[&str]) -> String {
    let mut svg = String::new();
    let mut x = LABELS;
    for (index, name) in series.iter().enumerate() {
        let (box_top, base) = (HEAD - 24.0, HEAD - 15.0);
        let _ = writeln!(
            svg,
            "<rect class=\"s{index}\" x=\"{x}\" y=\"{box_top}\" width=\"10\" height=\"10\"/>\
             <text x=\"{}\" y=\"{base}\">{}</text>",
            x + 15.0,
            escaped(name)
        );
        x += LEGEND_WIDTH;
    }
    svg
}

/// A line and a number for each decade.
fn grid(scale: &Scale, height: f64) -> String {
    let mut svg = String::new();
    for decade in scale.first..=scale.last {
        let number = 10_f64.powi(decade);
        let (x, bottom) = (scale.x(number), height - FOOT);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{HEAD}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>\
             <text class=\"faint\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{number}</text>",
            bottom + 18.0
        );
    }
    svg
}

fn draw_group(group: &Group, scale: &Scale, top: f64) -> String {
    let middle = top + height_of_group(group.bars.len()) / 2.0;
    let mut svg = format!(
        "<text x=\"{}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text>\n",
        LABELS - 10.0,
        escaped(&group.label)
    );
    let mut y = top + BETWEEN_GROUPS / 2.0;
    for (index, bar) in group.bars.iter().enumerate() {
        if let Some(spread) = bar {
            svg += &draw_bar(*spread, scale, &format!("class=\"bar s{index}\""), y);
        }
        y += BAR;
    }
    svg
}

fn draw_bar(Spread { median, min, max }: Spread, scale: &Scale, class: &str, y: f64) -> String {
    let (end, middle) = (scale.x(median), y + (BAR - 2.0) / 2.0);
    let digits = if median < 1.0 { 3 } else { 2 };
    format!(
        "<rect {class} x=\"{LABELS}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{}\"/>\
         <line class=\"spread\" x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\"/>\
         <text class=\"value\" x=\"{:.1}\" y=\"{:.1}\">{median:.digits$}</text>\n",
        end - LABELS,
        BAR - 2.0,
        scale.x(min),
        scale.x(max),
        scale.x(max) + 6.0,
        y + BAR - 3.0,
    )
}

/// Text without characters that XML reads as its own.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(label: &str, median: f64) -> Group {
        let bar = Spread { median, min: median / 2.0, max: median * 2.0 };
        Group { label: label.into(), bars: vec![Some(bar)] }
    }

    fn chart(groups: Vec<Group>) -> Chart {
        Chart { title: "title", unit: "unit", series: vec!["ours"], groups }
    }

    #[test]
    fn a_scale_has_whole_decades_around_all_numbers() {
        let scale = Scale::of(&[group("slow", 0.03), group("fast", 42.0)]);
        assert_eq!(scale.first, -2);
        assert_eq!(scale.last, 2);
        assert!((scale.x(0.01) - LABELS).abs() < 1e-6, "{}", scale.x(0.01));
        assert!((scale.x(100.0) - (WIDTH - RIGHT)).abs() < 1e-6, "{}", scale.x(100.0));
    }

    #[test]
    fn ten_times_as_much_is_a_bar_longer_by_a_decade() {
        let scale = Scale { first: 0, last: 2 };
        let decade = (WIDTH - LABELS - RIGHT) / 2.0;
        assert!((scale.x(50.0) - scale.x(5.0) - decade).abs() < 1e-6);
    }

    #[test]
    fn a_chart_without_numbers_has_a_scale_and_no_bar() {
        let empty = Group { label: "nothing".into(), bars: vec![None] };
        let picture = draw(&chart(vec![empty]));
        assert_eq!(picture.matches("class=\"bar").count(), 0, "{picture}");
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
    }

    #[test]
    fn labels_are_text_and_not_markup() {
        let picture = draw(&chart(vec![group("<script>&\"", 1.0)]));
        assert!(picture.contains("&lt;script&gt;&amp;&quot;"), "{picture}");
        assert!(!picture.contains("<script"), "{picture}");
    }
}
