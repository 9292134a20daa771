use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::Waker;

use http::HeaderMap;

use super::super::activity::Activity;
use super::*;

/// Pieces, then trailers; of a known length.
struct Pieces(VecDeque<Frame<Bytes>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let lengths = self.0.iter().filter_map(Frame::data_ref).map(Bytes::len);
        SizeHint::with_exact(lengths.sum::<usize>().try_into().unwrap())
    }
}

#[test]
fn an_answer_is_handed_out_in_pieces_that_a_slow_client_can_take() {
    let piece = |byte, length| Frame::data(Bytes::from(vec![byte; length]));
    let end = Frame::trailers(HeaderMap::new());
    let body = Pieces([piece(b'a', 40_000), piece(b'b', 16_384), end].into());
    let activity = Rc::new(Activity::default());
    let mut flowing = Flowing::new(body, Rc::default(), activity.begin());
    let mut seen = Vec::new();
    let cx = &mut Context::from_waker(Waker::noop());
    while !flowing.is_end_stream() {
        let left = flowing.size_hint().exact();
        let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut flowing).poll_frame(cx) else {
            panic!("the end came after {seen:?}");
        };
        let length = frame.data_ref().map(Bytes::len);
        let byte = frame.data_ref().and_then(|data| data.first().copied());
        seen.push((left, length, byte));
    }
    let expected = [
        (Some(56_384), Some(16_384), Some(b'a')),
        (Some(40_000), Some(16_384), Some(b'a')),
        (Some(23_616), Some(7_232), Some(b'a')),
        (Some(16_384), Some(16_384), Some(b'b')),
        (Some(0), None, None),
    ];
    assert_eq!(seen, expected);
    assert_eq!(flowing.flow.pieces.get(), 5, "each is a sign of life");
}
