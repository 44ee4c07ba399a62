"""One image from bytes to pixels, by OpenCV, within the limit that OpenCV itself applies before it allocates."""

from __future__ import annotations

import cv2

from ..errors import RequestError
from ..preprocess import Page
from .decoding import decode_page
from .formats import Kind
from .jpeg import is_complete
from .png import checked_png


def decode_image(content: bytes, kind: Kind, max_pixels: int) -> Page:
    """Return the image as BGR (height, width, 3), as `decode_page` has it. Raises `RequestError` 422, `MemoryError`."""
    unreadable = RequestError(422, "ImageUnreadable", f"the {kind.value} data is damaged or of an unknown variant")
    whole = _whole(content, kind)
    try:
        page = decode_page(whole)
    except cv2.error as error:
        if "CV_IO_MAX_IMAGE" in str(error):
            raise too_many_pixels("the image has more", max_pixels) from None
        if is_lack_of_memory(error):  # not the image's fault
            raise MemoryError from None
        raise unreadable from None
    if page is None:
        raise unreadable
    return page


def is_lack_of_memory(error: Exception) -> bool:
    """Tell whether it is Python's or OpenCV's word for that."""
    return isinstance(error, MemoryError) or (isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem)


def _whole(content: bytes, kind: Kind) -> bytes:
    """Return what OpenCV may see. Raises `RequestError` 422."""
    whole: bytes | None = content
    if kind is Kind.JPEG and not is_complete(content):
        whole = None
    if kind is Kind.PNG:
        try:
            whole = checked_png(content)
        except ValueError as error:
            raise RequestError(422, "ImageUnreadable", f"the PNG is damaged: {error}") from None
    if whole is None:
        raise RequestError(422, "ImageTruncated", f"the {kind.value} data ends before the image does")
    return whole


def too_many_pixels(what: str, max_pixels: int) -> RequestError:
    """Return the refusal of a page beyond the limit; `what` says what is known of its size."""
    message = f"{what} than {max_pixels} pixels (FINETUNE_MAX_PIXELS); send it smaller or with a lower dpi"
    return RequestError(422, "TooManyPixels", message)
