//! Lists of a client's preferences: `Accept`, `Accept-Language` (RFC 9110 section 12.4.2).

/// The items of a list with their weights in thousandths, parameters left out. A weight that
/// cannot be read counts as 0.
pub(super) fn weighted(list: &str) -> impl Iterator<Item = (&str, u16)> {
    list.split(',').map(|item| {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix(['q', 'Q'])?.strip_prefix('='));
        (name, weight.map_or(1000, thousandths))
    })
}

/// `0.8` is 800; of more digits than three the rest is cut.
fn thousandths(weight: &str) -> u16 {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    let mut digits = whole.bytes().chain(fraction.bytes().chain(*b"000").take(3));
    let read = digits.try_fold(0_u16, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u16::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    });
    read.filter(|read| *read <= 1000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::weighted;

    #[test]
    fn weights_are_read_as_thousandths() {
        for (list, expected) in [
            ("de", vec![("de", 1000)]),
            ("de-AT, en;q=0.5", vec![("de-AT", 1000), ("en", 500)]),
            ("a;q=1.000,b; Q=0.123456 ,c;q=0", vec![("a", 1000), ("b", 123), ("c", 0)]),
            ("text/html;level=1;q=.5", vec![("text/html", 500)]),
            ("a;q=2,b;q=-1,c;q=x,d;q=99999999999", vec![("a", 0), ("b", 0), ("c", 0), ("d", 0)]),
            ("", vec![("", 1000)]),
        ] {
            assert_eq!(weighted(list).collect::<Vec<_>>(), expected, "{list}");
        }
    }
}
