"""One Nipype interface per stage: load, call one function, save."""
