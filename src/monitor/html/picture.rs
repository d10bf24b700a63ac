//! Pictures as SVG within the page. Colours come from its style sheet.

use std::fmt::Write as _;

use super::{escape, grouped};

/// Bars of one picture.
const BARS_MAX: usize = 45;

const LABEL_WIDTH: u64 = 210;
const BAR_WIDTH: u64 = 420;
const BAR_HEIGHT: u64 = 16;
const STEP: u64 = 22;
const WIDTH: u64 = LABEL_WIDTH + BAR_WIDTH + 130;

/// A row of a picture: one or two numbers, each with the class of its colour.
pub struct Bar {
    pub label: String,
    /// What stands behind the bar.
    pub text: String,
    pub parts: Vec<(&'static str, u64)>,
}

/// Horizontal bars, each as long as its parts together; `full` is the longest possible one.
pub fn bars(title: &str, bars: &[Bar], full: u64) -> String {
    let shown = &bars[..bars.len().min(BARS_MAX)];
    let height = STEP * shown.len() as u64 + 4;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">",
        escape(title)
    );
    for (bar, row) in shown.iter().zip(0..) {
        let (top, text) = (STEP * row + 3, STEP * row + 15);
        let label: String = bar.label.chars().take(30).collect();
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>",
            LABEL_WIDTH - 8,
            escape(&label)
        );
        let _ = write!(
            svg,
            "<rect class=\"track\" x=\"{LABEL_WIDTH}\" y=\"{top}\" width=\"{BAR_WIDTH}\" \
             height=\"{BAR_HEIGHT}\"/>"
        );
        let mut left = LABEL_WIDTH;
        for (class, number) in &bar.parts {
            let width = length(*number, full).min(LABEL_WIDTH + BAR_WIDTH - left);
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{left}\" y=\"{top}\" width=\"{width}\" \
                 height=\"{BAR_HEIGHT}\"><title>{}: {}</title></rect>",
                escape(&bar.label),
                escape(&bar.text)
            );
            left += width;
        }
        let right = LABEL_WIDTH + BAR_WIDTH + 8;
        let _ = write!(svg, "<text x=\"{right}\" y=\"{text}\">{}</text>", escape(&bar.text));
    }
    svg.push_str("</svg>");
    if bars.len() > BARS_MAX {
        let _ = write!(svg, "<p class=\"note\">and {} regions more</p>", bars.len() - BARS_MAX);
    }
    svg
}

/// A part that is there is seen, however small it is.
fn length(number: u64, full: u64) -> u64 {
    let length = u128::from(number) * u128::from(BAR_WIDTH) / u128::from(full.max(1));
    u64::try_from(length).unwrap_or(BAR_WIDTH).clamp(u64::from(number > 0), BAR_WIDTH)
}

/// Upright bars side by side, each with the text that shows when it is pointed at.
pub fn columns(title: &str, columns: &[(u64, String)], below: [&str; 2]) -> String {
    const HEIGHT: u64 = 150;
    let highest = columns.iter().map(|(number, _)| *number).max().unwrap_or(0).max(1);
    let each = WIDTH / columns.len().max(1) as u64;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{}\">\
         <text x=\"0\" y=\"12\">{}</text>",
        HEIGHT + 42,
        escape(title),
        escape(&format!("most in one part: {}", grouped(highest)))
    );
    for ((number, text), place) in columns.iter().zip(0..) {
        let height = number * HEIGHT / highest;
        let height = height.max(u64::from(*number > 0));
        let _ = write!(
            svg,
            "<rect class=\"revision\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{height}\">\
             <title>{}</title></rect>",
            place * each,
            20 + HEIGHT - height,
            each.saturating_sub(2).max(1),
            escape(text)
        );
    }
    let base = 20 + HEIGHT;
    let _ = write!(
        svg,
        "<line x1=\"0\" y1=\"{base}\" x2=\"{WIDTH}\" y2=\"{base}\"/>\
         <text x=\"0\" y=\"{y}\">{}</text>\
         <text x=\"{WIDTH}\" y=\"{y}\" text-anchor=\"end\">{}</text></svg>",
        escape(below[0]),
        escape(below[1]),
        y = base + 17
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_their_length_and_stay_in_the_picture() {
        let cases = [(0, 10, 0), (1, 1_000_000, 1), (5, 10, 210), (10, 10, 420), (99, 10, 420)];
        for (number, full, want) in cases {
            assert_eq!(length(number, full), want, "{number} of {full}");
        }
        assert_eq!(length(u64::MAX, 1), BAR_WIDTH);
        assert_eq!(length(1, 0), BAR_WIDTH);
    }

    #[test]
    fn names_in_pictures_are_only_text() {
        let bar = Bar {
            label: "<script>\"".to_owned(),
            text: "<b>".to_owned(),
            parts: vec![("differs", 3), ("declared", 4)],
        };
        let svg = bars("a<b", &[bar], 7) + &columns("<", &[(1, "<i>".to_owned())], ["<", "\""]);
        for wrong in ["<script", "<b>", "<i>", "a<b"] {
            assert!(!svg.contains(wrong), "{svg}");
        }
    }
}
