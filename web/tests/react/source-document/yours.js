// What the document leaves to the app.
export const getCurrentUserId = () => "user123";
export const messages = [
  { id: "1", senderId: "user456", content: "Hello", createdAt: "2027-01-15T08:00:00Z" },
];
export const sent = [];
export const handleSendMessage = (text) => {
  sent.push(text);
};
