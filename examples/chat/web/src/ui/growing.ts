/** A field that is as high as its text, up to what its style allows. */

import { type RefObject, useLayoutEffect } from "react";

export function useGrowing(field: RefObject<HTMLTextAreaElement | null>, text: string): void {
  useLayoutEffect(() => {
    const { current } = field;
    if (!current) return;
    current.style.blockSize = "auto";
    const borders = current.offsetHeight - current.clientHeight;
    current.style.blockSize = `${current.scrollHeight + borders}px`;
  }, [field, text]);
}
