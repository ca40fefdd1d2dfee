"""A page in the browser that labels a video which is dropped or recorded there."""
