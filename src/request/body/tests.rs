use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::Waker;

use http::HeaderMap;

use super::*;

/// Frames that are there at once, then silence or the end.
struct Script {
    frames: VecDeque<Frame<Bytes>>,
    then_silence: bool,
    exact: Option<u64>,
}

impl Script {
    fn ending(frames: impl IntoIterator<Item = Frame<Bytes>>) -> Self {
        Self { frames: frames.into_iter().collect(), then_silence: false, exact: None }
    }

    fn silent(frames: impl IntoIterator<Item = Frame<Bytes>>) -> Self {
        Self { then_silence: true, ..Self::ending(frames) }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.frames.pop_front() {
            None if self.then_silence => Poll::Pending,
            frame => Poll::Ready(frame.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && !self.then_silence
    }

    fn size_hint(&self) -> SizeHint {
        self.exact.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}

fn limits(max_bytes: Option<u64>, min_rate: u64, grace_millis: u64) -> UploadLimits {
    UploadLimits { max_bytes, min_rate, grace: Duration::from_millis(grace_millis) }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn trailers_are_dropped_and_data_stays() {
    let frames = [data("a"), data("b"), Frame::trailers(HeaderMap::new())];
    let mut upload = Upload::new(Script::ending(frames), limits(None, 0, 0));
    let state = upload.state();
    run(async {
        assert_eq!(upload.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
        assert_eq!(upload.frame().await.unwrap().unwrap().into_data().unwrap(), "b");
        assert!(upload.frame().await.is_none());
    });
    assert_eq!((state.bytes(), state.fault(), state.is_whole()), (2, None, true));
}

#[test]
fn a_byte_too_many_cuts_the_upload_for_good() {
    let mut upload = Upload::new(Script::ending([data("abc"), data("d")]), limits(Some(3), 0, 0));
    let state = upload.state();
    run(async {
        assert!(upload.frame().await.unwrap().is_ok());
        assert!(upload.frame().await.unwrap().is_err());
        assert!(upload.frame().await.unwrap().is_err(), "a cut upload must never end cleanly");
    });
    assert_eq!(state.fault(), Some(UploadFault::TooLarge));
    assert!(!upload.is_end_stream());
}

#[test]
fn a_declared_length_is_refused_unread_and_kept_otherwise() {
    let body = |exact| Script { exact: Some(exact), ..Script::silent([]) };
    let upload = Upload::new(body(4), limits(Some(3), 0, 0));
    assert_eq!(upload.check_declared(), Err(UploadFault::TooLarge));
    assert_eq!(upload.state().fault(), Some(UploadFault::TooLarge));
    let upload = Upload::new(body(3), limits(Some(3), 0, 0));
    assert_eq!(upload.check_declared(), Ok(()));
    assert_eq!(upload.size_hint().exact(), Some(3));
}

#[test]
fn silence_beyond_the_grace_is_too_slow_however_much_came_before() {
    let burst = data("a burst of many bytes buys no more than the grace");
    let upload = Upload::new(Script::silent([burst]), limits(None, 1, 20));
    let state = upload.state();
    assert_eq!(run(collect(upload, 1000)), Err(CollectError::TooSlow));
    assert_eq!(state.fault(), Some(UploadFault::TooSlow));
}

/// What a client and an application say to each other beside an answer has a pace of its own.
#[test]
fn no_silence_is_too_slow_once_the_answer_has_begun() {
    run(async {
        let mut upload = Upload::new(Script::silent([data("a")]), limits(None, 1, 10));
        let state = upload.state();
        assert!(upload.frame().await.unwrap().is_ok());
        // It waits already when the answer begins.
        let waiting = Pin::new(&mut upload).poll_frame(&mut Context::from_waker(Waker::noop()));
        assert!(waiting.is_pending());
        state.note_answer();
        let late = tokio::time::timeout(Duration::from_millis(50), upload.frame()).await;
        assert!(late.is_err(), "{late:?}");
        assert_eq!(state.fault(), None);
    });
}

#[test]
fn waiting_spends_what_bytes_earn() {
    run(async {
        let limits = limits(None, 1000, 1000);
        let mut pace = Pace::new(&limits);
        pace.left = Duration::from_millis(100);
        pace.credit(200, &limits);
        assert_eq!(pace.left, Duration::from_millis(300));
        pace.credit(1_000_000, &limits);
        assert_eq!(pace.left, limits.grace);
    });
}

#[test]
fn a_small_body_is_read_whole_and_a_large_one_is_not() {
    let body = || Upload::new(Script::ending([data("ab"), data("cd")]), limits(None, 0, 0));
    assert_eq!(run(collect(body(), 4)), Ok(Bytes::from_static(b"abcd")));
    assert_eq!(run(collect(body(), 3)), Err(CollectError::TooLarge));
}

#[test]
fn bytes_that_were_read_before_count_as_the_beginning() {
    run(async {
        let rest = || Script { exact: Some(2), ..Script::ending([data("de")]) };
        let first = || Some(FirstBytes(Bytes::from_static(b"abc")));
        let upload = Upload::new(rest(), limits(Some(4), 0, 0)).after(first());
        assert_eq!(Body::size_hint(&upload).exact(), Some(5));
        assert_eq!(upload.check_declared(), Err(UploadFault::TooLarge));

        let upload = Upload::new(rest(), limits(Some(5), 0, 0)).after(first());
        let state = upload.state();
        assert_eq!(upload.check_declared(), Ok(()));
        assert_eq!(collect(upload, 9).await.as_deref(), Ok(&b"abcde"[..]));
        assert_eq!((state.bytes(), state.is_whole()), (5, true));

        let mut upload = Upload::new(Script::ending([]), limits(Some(2), 0, 0)).after(first());
        let state = upload.state();
        assert!(!Body::is_end_stream(&upload) && !state.is_whole());
        assert!(upload.frame().await.unwrap().is_err());
        assert_eq!(state.fault(), Some(UploadFault::TooLarge));
    });
}
