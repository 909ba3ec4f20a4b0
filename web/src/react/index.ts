"use client";

export * from "./components/chat-app.js";
export {
  type ChatMessage,
  ChatRoom,
  type ChatRoomProps,
  TypingIndicator,
  type TypingIndicatorProps,
} from "./components/chat-room.js";
export * from "./components/connection-banner.js";
export * from "./components/online-users-list.js";
export {
  type Size,
  StatusPicker,
  type StatusPickerProps,
  UserStatusIndicator,
  type UserStatusIndicatorProps,
} from "./components/status.js";
export {
  type Connection,
  type MyPresence,
  type OnlineOptions,
  type OnlineUserIds,
  type OwnStatus,
  type Socket,
  type Typing,
  useChatSession,
  useConnection,
  useLastSeenText,
  useMyPresence,
  useMyStatus,
  useOnlineUserIds,
  useOnlineUsers,
  usePresenceEvent,
  useSocket,
  useTyping,
  useUserStatus,
  useUserStatuses,
} from "./hooks.js";
export { english, type PresenceLabels } from "./labels.js";
export { type OwnMessage, useMessages } from "./messages.js";
export { SocketProvider, type SocketProviderProps } from "./provider.js";
