import { useMemo } from "react";
import { english, type PresenceLabels } from "./labels.js";
import { useShared } from "./provider.js";

/** English, and what the provider was given instead. */
export function useLabels(): PresenceLabels {
  const { labels } = useShared();
  return useMemo(() => ({ ...english, ...labels }), [labels]);
}
