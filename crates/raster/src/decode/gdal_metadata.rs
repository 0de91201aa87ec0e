//! GDAL's XML in TIFF tag 42112: names, colours, scale and offset of bands.

use crate::raster::{BandColour, BandInfo};

/// Reads the items that concern bands. What cannot be read is passed over: it is metadata.
pub(super) fn band_info(xml: &str, bands: usize) -> Vec<BandInfo> {
    let mut info = vec![BandInfo::default(); bands];
    for item in xml.split("<Item").skip(1) {
        let Some((attributes, rest)) = item.split_once('>') else {
            continue;
        };
        let Some((text, _)) = rest.split_once("</Item") else {
            continue;
        };
        // GDAL escapes the text of a band twice: `<` as `&amp;lt;`.
        let text = unescape(&unescape(text.trim()));
        let Some(band) = attribute(attributes, "sample")
            .and_then(|sample| sample.parse::<usize>().ok())
            .and_then(|sample| info.get_mut(sample))
        else {
            continue;
        };
        let number = || text.parse::<f64>().ok().filter(|value| value.is_finite());
        match attribute(attributes, "role").as_deref() {
            Some("description") => band.name = Some(text.clone()),
            Some("scale") => band.scale = number().filter(|&scale| scale != 0.0).unwrap_or(1.0),
            Some("offset") => band.offset = number().unwrap_or(0.0),
            Some("colorinterp") => {
                band.colour = match text.to_ascii_lowercase().as_str() {
                    "red" => Some(BandColour::Red),
                    "green" => Some(BandColour::Green),
                    "blue" => Some(BandColour::Blue),
                    _ => None,
                }
            }
            _ => {}
        }
    }
    info
}

fn attribute(attributes: &str, name: &str) -> Option<String> {
    let (_, rest) = attributes.split_once(&format!("{name}="))?;
    let quote = rest.chars().next().filter(|c| "\"'".contains(*c))?;
    let value = rest[1..].split(quote).next()?;
    Some(unescape(value))
}

/// The five entities of XML and characters by number.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let Some((entity, tail)) = after.split_once(';') else {
            out.push('&');
            rest = after;
            continue;
        };
        let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok();
        let c = match entity {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => entity
                .strip_prefix("#x")
                .and_then(|digits| number(digits, 16))
                .or_else(|| {
                    entity
                        .strip_prefix('#')
                        .and_then(|digits| number(digits, 10))
                })
                .and_then(char::from_u32),
        };
        match c {
            Some(c) => {
                out.push(c);
                rest = tail;
            }
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::band_info;
    use crate::raster::BandColour;

    #[test]
    fn items_of_bands_are_read_and_nonsense_is_passed_over() {
        let xml = r#"<GDALMetadata>
            <Item name="AREA">x</Item>
            <Item name="DESCRIPTION" sample="0" role="description">B4 &amp;lt;red&gt; &#228;</Item>
            <Item name="SCALE" sample='1' role='scale'>1e-3</Item>
            <Item name="OFFSET" sample="1" role="offset">-50</Item>
            <Item name="COLORINTERP" sample="1" role="colorinterp">Blue</Item>
            <Item name="SCALE" sample="0" role="scale">nan</Item>
            <Item name="SCALE" sample="9" role="scale">2</Item>
            <Item name="DESCRIPTION" sample="1" role="description"
        "#;
        let [first, second] = band_info(xml, 2).try_into().expect("two bands");
        assert_eq!(first.name.as_deref(), Some("B4 <red> ä"));
        assert_eq!((first.scale, first.offset, first.colour), (1.0, 0.0, None));
        assert_eq!((second.scale, second.offset), (1e-3, -50.0));
        assert_eq!((second.name, second.colour), (None, Some(BandColour::Blue)));
    }
}
