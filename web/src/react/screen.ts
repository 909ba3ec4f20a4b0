import { type RefObject, useEffect, useState } from "react";
import { useShared } from "./provider.js";

/** What is scrolled past is not looked at. */
const REST_MS = 300;
/** So far beyond the screen is near enough. */
const MARGIN = "25%";

type Told = (isSeen: boolean) => void;

/** One observer for all elements, while there are any. */
const told = new Map<Element, Told>();
let observer: IntersectionObserver | undefined;

/** Whether it can be known what is on the screen. */
export const isScreenKnown = () => typeof IntersectionObserver !== "undefined";

/** Calls `on` when the element comes onto the screen or leaves it. */
function observe(element: Element, on: Told): () => void {
  if (!isScreenKnown()) return () => {};
  observer ??= new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) told.get(target)?.(isIntersecting);
    },
    { rootMargin: MARGIN },
  );
  told.set(element, on);
  observer.observe(element);
  return () => {
    told.delete(element);
    observer?.unobserve(element);
    if (!told.size) observer = undefined;
  };
}

/** Whether the element rests on the screen, or near it; `atFirst` until that is known. */
export function useOnScreen(element: RefObject<Element | null>, atFirst: boolean): boolean {
  const { clock } = useShared();
  const [isShown, show] = useState(atFirst);
  useEffect(() => {
    let cancel = () => {};
    const stop = observe(element.current as Element, (isSeen) => {
      cancel();
      cancel = clock.after(isSeen ? REST_MS : 0, () => show(isSeen));
    });
    return () => {
      cancel();
      stop();
    };
  }, [element, clock]);
  return isShown;
}
