include $(sort $(wildcard $(BR2_EXTERNAL_LUGE_PATH)/package/*/*.mk))
